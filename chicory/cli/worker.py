"""``chicory worker``: one worker process, or a supervisor of several."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_type_hints

import anyio
import msgspec
from anyio import TASK_STATUS_IGNORED
from anyio.abc import TaskStatus
from cyclopts import Parameter, Token
from cyclopts.validators import Number

from chicory.accepted import accept
from chicory.cli.locate import AppPath, across_processes, locate
from chicory.config import LogLevel, WorkerConfig
from chicory.errors import ConfigurationError
from chicory.logs import LogFormat, set_up
from chicory.supervision import Lifeline, Supervisor
from chicory.supervision.sources import need_watchfiles
from chicory.worker import Worker
from chicory.worker.rota import parse

EventLoop = Literal["asyncio", "uvloop", "trio"]
LEVELS = get_args(LogLevel)
_SOME = Number(gte=1)
STUCK = 0.5
"""Seconds after which a thread that still runs is left to its fate."""

logger = logging.getLogger("chicory.worker")


def _level(_: object, tokens: Sequence[Token]) -> str:
    level = tokens[0].value.upper()
    if level not in LEVELS:
        raise ValueError(f"choose from {', '.join(LEVELS)}")
    return level


def worker(
    app: AppPath,
    /,
    *,
    workers: Annotated[
        int,
        Parameter(name=["--workers", "-w"], validator=_SOME, help="Worker processes."),
    ] = 1,
    concurrency: Annotated[
        int | None, Parameter(name=["--concurrency", "-c"], help="Tasks that run at once.")
    ] = None,
    queue: Annotated[
        tuple[str, ...],
        Parameter(
            name=["--queue", "-q"],
            negative=(),
            show_default=False,
            consume_multiple=False,
            help="Queue to consume; several: in strict order, or shared by weight (high=3).",
        ),
    ] = (),
    dlq: Annotated[bool | None, Parameter(help="Keep exhausted calls as dead letters.")] = None,
    heartbeat_interval: Annotated[
        float | None, Parameter(help="Seconds between heartbeats.")
    ] = None,
    heartbeat_ttl: Annotated[
        float | None, Parameter(help="Seconds after which a silent worker counts as dead.")
    ] = None,
    shutdown_timeout: Annotated[
        float | None, Parameter(help="Seconds that running tasks get to finish.")
    ] = None,
    log_level: Annotated[
        LogLevel | None, Parameter(help="What is logged on stderr.", converter=_level)
    ] = None,
    log_format: Annotated[
        LogFormat | None, Parameter(help="Lines for people, or one JSON object each.")
    ] = None,
    loop: Annotated[EventLoop, Parameter(help="Event loop to run on.")] = "asyncio",
    burst: Annotated[
        bool, Parameter(negative=(), help="End when the queues hold nothing that is due.")
    ] = False,
    max_tasks: Annotated[
        int | None,
        Parameter(help="Tasks after which a process is replaced by a new one.", validator=_SOME),
    ] = None,
    max_memory: Annotated[
        int | None, Parameter(help="MiB of memory, likewise.", validator=_SOME)
    ] = None,
    max_tasks_total: Annotated[
        int | None,
        Parameter(help="Tasks after which a process ends, and is not replaced.", validator=_SOME),
    ] = None,
    reload: Annotated[
        bool, Parameter(negative=(), help="Replace the processes when Python files here change.")
    ] = False,
) -> int:
    """Run tasks until SIGTERM or SIGINT; what is not finished then is given back."""
    _need(loop)
    lifeline = Lifeline.inherited()
    if max_tasks is not None and max_tasks_total is not None:
        raise ConfigurationError("--max-tasks replaces a process, --max-tasks-total does not: one")
    recycles = max_tasks is not None or max_memory is not None
    if burst and recycles:
        raise ConfigurationError("--burst ends a process, --max-tasks and --max-memory replace it")
    if (workers > 1 or reload or recycles) and lifeline is None:
        finite, settings = burst or max_tasks_total is not None, WorkerConfig()
        set_up(log_level or settings.log_level, log_format or settings.log_format)
        return _supervise(workers, finite=finite, reload=reload)
    found = across_processes(locate(app))
    given = {
        "concurrency": concurrency,
        "use_dead_letter_queue": dlq,
        "heartbeat_interval": heartbeat_interval,
        "heartbeat_ttl": heartbeat_ttl,
        "shutdown_timeout": shutdown_timeout,
        "log_level": log_level,
        "log_format": log_format,
        "max_tasks": max_tasks if max_tasks_total is None else max_tasks_total,
        "max_memory": max_memory,
    }
    config = overridden(found.config.worker, given)
    if not found.tasks:
        raise ConfigurationError(f"{app} has no tasks: @app.task() registers one")
    runner = Worker(found, config, queues=parse(queue) or None, burst=burst)
    set_up(config.log_level, config.log_format, runner.worker_id)
    status: TaskStatus[None] = TASK_STATUS_IGNORED
    if lifeline is not None:
        lifeline.shutdown_timeout = config.shutdown_timeout
        status = lifeline
    backend = "trio" if loop == "trio" else "asyncio"
    options = {"use_uvloop": True} if loop == "uvloop" else {}
    anyio.run(partial(runner.run, task_status=status), backend=backend, backend_options=options)
    _abandon_threads()
    return 0


def _abandon_threads() -> None:
    """End the process where a plain ``def`` goes on that was given back or out of its time.

    A thread cannot be killed, and Python would wait for it.
    """
    ends = time.monotonic() + STUCK
    for thread in threading.enumerate():
        if thread.name == "AnyIO worker thread" and not thread.daemon:
            thread.join(max(0.0, ends - time.monotonic()))
            if thread.is_alive():
                logger.warning("ending although a task still runs in its thread")
                logging.shutdown()
                os._exit(0)


def _supervise(workers: int, *, finite: bool, reload: bool) -> int:
    """Have so many processes run this same command; each finds that it has a supervisor."""
    if os.name != "posix":
        raise ConfigurationError("this system runs one worker process per command, unsupervised")
    if reload:
        need_watchfiles()
    command = [sys.executable, "-m", "chicory.cli", *sys.argv[1:]]
    sources = Path.cwd() if reload else None
    return anyio.run(Supervisor(command, workers, finite=finite, sources=sources).run)


def overridden(config: WorkerConfig, given: dict[str, Any]) -> WorkerConfig:
    """The settings with those that were given on the command line in their place.

    Raises ``ConfigurationError`` that names the option and what it takes.
    """
    options = {"use_dead_letter_queue": "dlq"}
    hints = get_type_hints(WorkerConfig, include_extras=True)
    changes = {name: value for name, value in given.items() if value is not None}
    for name, value in changes.items():
        option = options.get(name, name).replace("_", "-")
        accept(value, hints[name], f"--{option} {value}")
    return msgspec.structs.replace(config, **changes)


def _need(loop: EventLoop) -> None:
    if loop != "asyncio" and find_spec(loop) is None:
        raise ConfigurationError(f"--loop {loop} needs it: pip install 'chicory[{loop}]'")
