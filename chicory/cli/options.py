"""The options of ``chicory worker``: what is run, and the settings given in place of others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args, get_type_hints

import msgspec
from cyclopts import Parameter, Token
from cyclopts.validators import Number

from chicory.accepted import accept
from chicory.config import LogLevel, WorkerConfig
from chicory.environment import without_none
from chicory.errors import ConfigurationError
from chicory.logs import LogFormat

EventLoop = Literal["asyncio", "uvloop", "trio"]
LEVELS = get_args(LogLevel)
_SOME = Number(gte=1)


def _level(_: object, tokens: Sequence[Token]) -> str:
    level = tokens[0].value.upper()
    if level not in LEVELS:
        raise ValueError(f"choose from {', '.join(LEVELS)}")
    return level


def whole(_: object, tokens: Sequence[Token]) -> int:
    """A whole number, and no other one rounded."""
    try:
        return int(tokens[0].value)
    except ValueError:
        raise ValueError(f"{tokens[0].value!r} is no whole number") from None


@dataclass(frozen=True, kw_only=True)
class Course:
    """How many processes run what, on which loop, and until when."""

    workers: Annotated[
        int,
        Parameter(
            name=["--workers", "-w"], validator=_SOME, converter=whole, help="Worker processes."
        ),
    ] = 1
    queue: Annotated[
        tuple[str, ...],
        Parameter(
            name=["--queue", "-q"],
            negative=(),
            show_default=False,
            consume_multiple=False,
            help="Queue to consume; several: in strict order, or shared by weight (high=3).",
        ),
    ] = ()
    loop: Annotated[EventLoop, Parameter(help="Event loop to run on.")] = "asyncio"
    reload: Annotated[
        bool, Parameter(negative=(), help="Replace the processes when Python files here change.")
    ] = False
    burst: Annotated[
        bool, Parameter(negative=(), help="End when the queues hold nothing that is due.")
    ] = False
    max_tasks_total: Annotated[
        int | None,
        Parameter(
            help="Tasks after which a process ends, and is not replaced.",
            validator=_SOME,
            converter=whole,
        ),
    ] = None

    @property
    def finite(self) -> bool:
        """Whether the processes end by themselves, and are not replaced then."""
        return self.burst or self.max_tasks_total is not None


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of ``WorkerConfig``, of the same names; ``None`` for one that is not given."""

    concurrency: Annotated[
        int | None,
        Parameter(name=["--concurrency", "-c"], converter=whole, help="Tasks that run at once."),
    ] = None
    use_dead_letter_queue: Annotated[
        bool | None, Parameter(name="--dlq", help="Keep exhausted calls as dead letters.")
    ] = None
    heartbeat_interval: Annotated[float | None, Parameter(help="Seconds between heartbeats.")] = (
        None
    )
    heartbeat_ttl: Annotated[
        float | None, Parameter(help="Seconds after which a silent worker counts as dead.")
    ] = None
    shutdown_timeout: Annotated[
        float | None, Parameter(help="Seconds that running tasks get to finish.")
    ] = None
    log_level: Annotated[
        LogLevel | None, Parameter(help="What is logged on stderr.", converter=_level)
    ] = None
    log_format: Annotated[
        LogFormat | None, Parameter(help="Lines for people, or one JSON object each.")
    ] = None
    health_port: Annotated[
        int | None, Parameter(converter=whole, help="Serve /live, /ready and /metrics there.")
    ] = None
    health_host: Annotated[
        str | None, Parameter(help="Address to serve them on; 0.0.0.0 in a container.")
    ] = None
    max_tasks: Annotated[
        int | None,
        Parameter(
            help="Tasks after which a process is replaced by a new one.",
            validator=_SOME,
            converter=whole,
        ),
    ] = None
    max_memory: Annotated[
        int | None, Parameter(help="MiB of memory, likewise.", validator=_SOME, converter=whole)
    ] = None
    threads: Annotated[
        int | None, Parameter(converter=whole, help="Tasks that run at once in threads.")
    ] = None
    processes: Annotated[
        int | None,
        Parameter(converter=whole, help="Tasks that run at once in processes of their own."),
    ] = None
    max_process_memory: Annotated[
        int | None, Parameter(converter=whole, help="MiB of memory that such a process may have.")
    ] = None

    @property
    def recycles(self) -> bool:
        """Whether a process makes way for a new one now and then."""
        return self.max_tasks is not None or self.max_memory is not None

    def over(self, config: WorkerConfig) -> WorkerConfig:
        """The settings with those that were given in their place.

        Raises ``ConfigurationError`` that names the option and what it takes.
        """
        hints = get_type_hints(WorkerConfig, include_extras=True)
        given = {name: value for name, value in vars(self).items() if value is not None}
        for name, value in given.items():
            accept(value, without_none(hints[name]), f"{_option(name)} {value}")
        return msgspec.structs.replace(config, **given)


def check(course: Course, settings: Settings) -> None:
    """Raises ``ConfigurationError`` where they contradict each other."""
    if settings.max_tasks is not None and course.max_tasks_total is not None:
        raise ConfigurationError("--max-tasks replaces a process, --max-tasks-total does not: one")
    if course.burst and settings.recycles:
        raise ConfigurationError("--burst ends a process, --max-tasks and --max-memory replace it")


def _option(name: str) -> str:
    hint: Any = get_type_hints(Settings, include_extras=True)[name]
    named: tuple[str, ...] = hint.__metadata__[0].name or ()
    return named[0] if named else f"--{name.replace('_', '-')}"
