"""``chicory worker``: one worker process, or a supervisor of several."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import anyio
import msgspec
from anyio import TASK_STATUS_IGNORED
from anyio.abc import TaskStatus
from cyclopts import Parameter

from chicory.app import Chicory
from chicory.cli.locate import AppPath, across_processes, locate
from chicory.cli.options import Course, EventLoop, Settings, check
from chicory.config import WorkerConfig
from chicory.errors import ConfigurationError
from chicory.logs import set_up
from chicory.supervision import Lifeline, Supervisor
from chicory.supervision.sources import need_watchfiles
from chicory.worker import Worker
from chicory.worker.rota import parse
from chicory.worker.watchdog import Watchdog

_AS_USUAL, _NONE_GIVEN = Course(), Settings()
STUCK = 0.5
"""Seconds after which a thread that still runs is left to its fate."""

logger = logging.getLogger("chicory.worker")


def worker(
    app: AppPath,
    /,
    *,
    course: Annotated[Course, Parameter(name="*")] = _AS_USUAL,
    settings: Annotated[Settings, Parameter(name="*")] = _NONE_GIVEN,
) -> int:
    """Run tasks until SIGTERM or SIGINT; what is not finished then is given back."""
    check(course, settings)
    _need(course.loop)
    lifeline = Lifeline.inherited()
    known = settings.over(WorkerConfig())
    if lifeline is None and (course.workers > 1 or course.reload or _recycles(course, known)):
        return _supervise(course, known)
    found = across_processes(locate(app))
    if not found.tasks:
        raise ConfigurationError(f"{app} has no tasks: @app.task() registers one")
    config = settings.over(found.config.worker)
    if lifeline is None and _recycles(course, config):  # which only the program says
        return _supervise(course, known)
    runner = _runner(found, config, course, lifeline)
    status: TaskStatus[None] = TASK_STATUS_IGNORED
    if lifeline is not None:
        lifeline.shutdown_timeout = runner.config.shutdown_timeout
        if runner.config.health_port is not None:
            lifeline.serve(runner.config.health_host, runner.config.health_port)
        status = lifeline
    backend = "trio" if course.loop == "trio" else "asyncio"
    options = {"use_uvloop": True} if course.loop == "uvloop" else {}
    anyio.run(partial(runner.run, task_status=status), backend=backend, backend_options=options)
    _abandon_threads()
    return 0


def _runner(
    found: Chicory, config: WorkerConfig, course: Course, lifeline: Lifeline | None
) -> Worker:
    if course.max_tasks_total is not None:
        config = msgspec.structs.replace(config, max_tasks=course.max_tasks_total)
    endpoint = lifeline.answering if lifeline and config.health_port is not None else None
    queues = parse(course.queue) or None
    watchdog = Watchdog()
    if lifeline is not None:
        lifeline.is_stopping = watchdog.is_expecting
    runner = Worker(
        found,
        config,
        queues=queues,
        burst=course.burst,
        endpoint=endpoint,
        watchdog=watchdog,
    )
    set_up(config.log_level, config.log_format, runner.worker_id)
    return runner


def _recycles(course: Course, config: WorkerConfig) -> bool:
    """Whether a process makes way for a new one now and then."""
    return not course.finite and (config.max_tasks or config.max_memory) is not None


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


def _supervise(course: Course, config: WorkerConfig) -> int:
    """Have so many processes run this same command; each finds that it has a supervisor."""
    if os.name != "posix":
        raise ConfigurationError("this system runs one worker process per command, unsupervised")
    if course.reload:
        need_watchfiles()
    set_up(config.log_level, config.log_format)
    command = [sys.executable, "-m", "chicory.cli", *sys.argv[1:]]
    team = Supervisor(
        command,
        course.workers,
        finite=course.finite,
        sources=Path.cwd() if course.reload else None,
        health=None if config.health_port is None else (config.health_host, config.health_port),
    )
    return anyio.run(team.run)


def _need(loop: EventLoop) -> None:
    if loop != "asyncio" and find_spec(loop) is None:
        raise ConfigurationError(f"--loop {loop} needs it: pip install 'chicory[{loop}]'")
