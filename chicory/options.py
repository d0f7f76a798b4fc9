"""What ``@app.task(...)`` may say about a task, and ``options(...)`` about one call of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache
from typing import Annotated, Any, Literal, Self, cast, get_type_hints

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.structs import force_setattr

from chicory import rules
from chicory.accepted import accept, brief, is_plain, is_text
from chicory.errors import ConfigurationError
from chicory.retry import LONGEST_DELAY, NO_RETRIES, RetryPolicy
from chicory.states import DeliveryMode, ValidationMode
from chicory.transport import MAX_NAME, Priority

UniqueKey = str | Callable[..., str | None]
"""A key, or what computes one from the arguments of a call (``None``: this one has none)."""

Executor = Literal["async", "thread", "process"]
"""What runs a task: the worker's event loop, a thread, or a process that runs nothing else."""

_Name = Annotated[str, Meta(min_length=1, max_length=MAX_NAME)]
_Number = Annotated[int, Meta(ge=1)]
_Span = Annotated[float, Meta(gt=0, le=LONGEST_DELAY)]
_Delay = Annotated[float, Meta(ge=0, le=LONGEST_DELAY)]


class SharedOptions(Struct, frozen=True, kw_only=True):
    """Settings of a task, and of one call of it.

    Attributes:
        queue: where calls are published.
        priority: level within the queue.
        delay: seconds from publishing until a call may begin; ``None`` for at once.
        expires: seconds after that from which it is not begun any more; ``None`` for never.
        unique: at most one call of the task with this key waits or runs.
        unique_ttl: seconds after it may begin for which the key is held at most; ``None``: until
            the call is settled, however long that takes.
        headers: notes that travel with the call.
    """

    queue: _Name = "default"
    priority: Priority = Priority.NORMAL
    delay: _Delay | None = None
    expires: _Span | None = None
    unique: UniqueKey | None = None
    unique_ttl: _Span | None = None
    headers: Mapping[str, str] = {}


class CallOptions(SharedOptions, frozen=True, kw_only=True):
    """Settings of one call. What is not said here is as the task has it in the worker.

    Attributes:
        eta: when it may begin, in place of ``delay``.
        timeout: seconds an attempt may take; ``None`` for no limit.
        retry_policy: ``None`` for no retries.
    """

    eta: datetime | None = None
    timeout: float | UnsetType | None = UNSET
    retry_policy: RetryPolicy | UnsetType | None = UNSET

    def altered(self, changes: Mapping[str, Any]) -> CallOptions:
        """These options but for ``changes``; headers are added. Raises ``ConfigurationError``."""
        for name in changes.keys() - set(self.__struct_fields__):
            raise TypeError(f"options() got an unexpected keyword argument {name!r}")
        given: dict[str, Any] = {
            name: _checked(name, value, "options") for name, value in changes.items()
        }
        if given.get("retry_policy") is not None:
            rules.written(given["retry_policy"])  # one that cannot travel
        if given.get("delay") is not None and given.get("eta") is not None:
            raise ConfigurationError("options(delay=..., eta=...): give one of the two")
        if "delay" in given or "eta" in given:
            given = {"delay": None, "eta": None} | given
        if "headers" in given:
            given["headers"] = {**self.headers, **given["headers"]}
        return msgspec.structs.replace(self, **given)


class TaskOptions(SharedOptions, frozen=True, kw_only=True):
    """Settings of one task.

    Attributes:
        name: the task's name; ``None`` for ``module.function``.
        retry_policy: ``None`` for no retries.
        delivery_mode: what a dying worker means for the call.
        ignore_result: store neither results nor failures.
        validation_mode: what is checked against the signature.
        timeout: seconds an attempt may take; ``None`` for no limit.
        executor: what runs it; ``None``: the event loop if it is ``async def``, else a thread.
        max_concurrency: how many run at once in one worker; ``None`` for as many as it has slots.
        max_memory: MiB that its process may have; ``None`` for what the worker says.
    """

    name: _Name | None = None
    retry_policy: RetryPolicy | None = None
    delivery_mode: DeliveryMode = DeliveryMode.AT_LEAST_ONCE
    ignore_result: bool = False
    validation_mode: ValidationMode = ValidationMode.INPUTS
    timeout: _Span | None = None
    executor: Executor | None = None
    max_concurrency: _Number | None = None
    max_memory: _Number | None = None

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            force_setattr(self, name, _checked(name, getattr(self, name), "@app.task"))
        check_unique(self.delivery_mode, self.unique, "@app.task")
        if self.max_memory is not None and self.executor != "process":
            raise ConfigurationError(
                f"@app.task(max_memory={self.max_memory}): only a process can have a limit of its "
                'own: use executor="process"'
            )

    @classmethod
    def of(cls, given: Mapping[str, Any], otherwise: Mapping[str, Any]) -> Self:
        """Those given, and ``otherwise`` for what is not, or is ``None``. Raises as options do."""
        instead = {name: value for name, value in otherwise.items() if given.get(name) is None}
        return cls(**{**given, **instead})

    @property
    def policy(self) -> RetryPolicy:
        """The retry policy in force."""
        return self.retry_policy or NO_RETRIES

    @property
    def of_calls(self) -> CallOptions:
        """The options of a call that brings none of its own."""
        shared = SharedOptions.__struct_fields__
        return CallOptions(**{name: getattr(self, name) for name in shared})


def check_unique(mode: DeliveryMode, unique: UniqueKey | None, where: str) -> None:
    """Refuse a key that would be released when the call begins. Raises ``ConfigurationError``."""
    if unique is not None and mode is DeliveryMode.AT_MOST_ONCE:
        raise ConfigurationError(
            f"{where}(unique=...): a task that runs at most once is settled before it runs, "
            "which would release the key: use DeliveryMode.AT_LEAST_ONCE"
        )


def _checked(name: str, value: Any, where: str) -> Any:
    """An option as it is kept. Raises ``ConfigurationError`` that names it and what is accepted."""
    shown = f"{where}({name}={brief(value)})"
    check = _CHECKS.get(name)
    if check is not None:
        return check(value, shown)
    accepted = accept(value, _kinds()[name], shown)
    if isinstance(accepted, str):
        _check_text(accepted, shown)
        if not is_plain(accepted):
            raise ConfigurationError(f"{shown}: must be without control characters")
    return accepted


@cache
def _kinds() -> Mapping[str, Any]:
    """What is accepted for each option, as it is annotated."""
    return get_type_hints(TaskOptions, include_extras=True)


def _priority(value: Any, shown: str) -> Priority:
    if type(value) not in {int, Priority} or value not in tuple(Priority):
        raise ConfigurationError(f"{shown}: 0 is low, 1 normal, 2 high")
    return Priority(value)


def _retry_policy(value: Any, shown: str) -> RetryPolicy | None:
    if not isinstance(value, RetryPolicy | None):
        raise ConfigurationError(f"{shown}: must be a RetryPolicy(...)")
    return value


def _eta(value: Any, shown: str) -> datetime | None:
    if value is None:
        return None
    if not isinstance(value, datetime):
        raise ConfigurationError(f"{shown}: must be a datetime with a time zone")
    if value.utcoffset() is None:
        raise ConfigurationError(
            f"{shown}: has no time zone, so that it could mean several times: "
            "use datetime.now(UTC) + timedelta(...), value.astimezone(), or delay=seconds"
        )
    return value


def _unique(value: Any, shown: str) -> UniqueKey | None:
    if value is None or callable(value):
        return cast("UniqueKey | None", value)
    key: str = accept(value, _Name, shown)
    _check_text(key, shown)
    return key


def _headers(value: Any, shown: str) -> Mapping[str, str]:
    try:
        headers = msgspec.convert({} if value is None else value, dict[str, str])
    except msgspec.ValidationError:
        raise ConfigurationError(f"{shown}: must be a mapping of text to text") from None
    for name, text in headers.items():
        _check_text(name, shown)
        _check_text(text, shown)
    return headers


def _check_text(text: str, shown: str) -> None:
    if not is_text(text):
        raise ConfigurationError(f"{shown}: must be without lone surrogates, which cannot be sent")


_CHECKS: dict[str, Callable[[Any, str], Any]] = {
    "priority": _priority,
    "retry_policy": _retry_policy,
    "eta": _eta,
    "unique": _unique,
    "headers": _headers,
}
