"""A task: a function that can be called elsewhere."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Coroutine
from functools import partial, update_wrapper
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, cast, overload

from msgspec import Struct

from chicory.accepted import brief
from chicory.backend import Backend
from chicory.broker import Broker
from chicory.clock import Clock
from chicory.codec import Codec
from chicory.context import TaskContext
from chicory.errors import ConfigurationError
from chicory.message import new_id
from chicory.options import Executor, TaskOptions
from chicory.record import StoredResult
from chicory.result import NO_BACKEND, Source
from chicory.sender import Sender
from chicory.signature import Signature
from chicory.states import DeliveryMode

P = ParamSpec("P")
R = TypeVar("R")

_NO_FUNCTIONS: tuple[type, ...] = (type, partial)
"""Can be called, and may have a name; but what they tell of their parameters is not what holds."""


class Surroundings(Struct, frozen=True):
    """What all tasks of an app share.

    Attributes:
        broker: where calls are published.
        backend: where results will be; ``None`` for nowhere.
        clock: the time.
        result_timeout: seconds that ``get`` waits where it is not told.
        codec: what encodes arguments and results.
    """

    broker: Broker
    backend: Backend | None
    clock: Clock
    result_timeout: float | None
    codec: Codec


class Task(Sender[P, R]):
    """A registered function; made by ``@app.task(...)``.

    Attributes:
        name: the task's name, ``module.function`` unless told otherwise.
        function: the function as it was written.
        settings: the task's settings.
        is_async: whether the function is ``async def``.
        executor: what runs it: ``"async"`` (the event loop), ``"thread"`` or ``"process"``.
        checks_results: whether what it returns is validated.
        at_most_once: whether its messages are settled before it runs.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        settings: TaskOptions,
        surroundings: Surroundings,
    ) -> None:
        update_wrapper(cast("Any", self), function)  # first: a function may have any attributes
        for name in [name for name in vars(self) if name[0] != "_" and hasattr(Task, name)]:
            del vars(self)[name]
        super().__init__(surroundings.broker, surroundings.clock, settings.of_calls)
        self.name = settings.name or default_name(function)
        self.function = function
        self.settings = settings
        self.is_async = inspect.iscoroutinefunction(function)
        self.executor = _executor(self.name, function, settings.executor, is_async=self.is_async)
        ignored = f"task {self.name} stores no results: it has ignore_result=True"
        self.source = Source(
            surroundings.broker,
            None if settings.ignore_result else surroundings.backend,
            self._read,
            surroundings.result_timeout,
            ignored if settings.ignore_result else NO_BACKEND,
        )
        self.checks_results = settings.validation_mode.outputs
        self.at_most_once = settings.delivery_mode is DeliveryMode.AT_MOST_ONCE
        self._codec = surroundings.codec
        self._signature: Signature | None = None

    def __repr__(self) -> str:
        return f"<Task {self.name}>"

    @property
    def signature(self) -> Signature:
        """The task's argument codec. Raises ``ConfigurationError`` for unusable annotations."""
        if self._signature is None:
            self._signature = Signature(self.name, self.function, self._codec)
        return self._signature

    def run(self, /, *args: Any, **kwargs: Any) -> Any:
        """Run the function here and now; a missing ``TaskContext`` is made up."""
        if not any(isinstance(value, TaskContext) for value in (*args, *kwargs.values())):
            now = self._clock.now()
            context = TaskContext(
                new_id(), self.name, policy=self.settings.policy, enqueued_at=now, started_at=now
            )
            injected, kwargs = self.signature.inject(context, args, kwargs)
            args = tuple(injected)
        return self.function(*args, **kwargs)

    def _read(self, stored: StoredResult) -> Any:
        return self.signature.decode_result(stored.result)


class AsyncTask(Task[P, R]):
    """A task whose function is ``async def``."""

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:
        """Run it in place, without a broker."""
        return cast("Coroutine[Any, Any, R]", self.run(*args, **kwargs))


class SyncTask(Task[P, R]):
    """A task whose function is ``def``; workers run it in a thread, or a process."""

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run it in place, without a broker."""
        return cast("R", self.run(*args, **kwargs))


def make_task(
    function: Callable[..., Any], settings: TaskOptions, surroundings: Surroundings
) -> Task[..., Any]:
    """The task of a function. Raises ``ConfigurationError`` where there can be none."""
    if isinstance(function, Task):  # one function may be several tasks, or of several apps
        function = function.function
    _check_kind(function, settings.name)
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise ConfigurationError(
            f"task {default_name(function)!r} is a generator: a task returns its one result"
        )
    kind = cast(
        "type[Task[..., Any]]",
        AsyncTask if inspect.iscoroutinefunction(function) else SyncTask,
    )
    return kind(function, settings, surroundings)


class TaskDecorator(Protocol):
    """What ``app.task(...)`` returns: keeps parameters and result type, leaves out the context."""

    @overload
    def __call__(  # pyright: ignore[reportOverlappingOverload]  (a coroutine is a result, too)
        self, function: Callable[Concatenate[TaskContext, P], Coroutine[Any, Any, R]]
    ) -> AsyncTask[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]]) -> AsyncTask[P, R]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[TaskContext, P], R]) -> SyncTask[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R]) -> SyncTask[P, R]: ...


def _executor(
    name: str, function: Callable[..., Any], wanted: Executor | None, *, is_async: bool
) -> Executor:
    """What is to run the function. Raises ``ConfigurationError`` where that cannot."""
    match wanted:
        case "thread" if is_async:
            reason = 'an async def runs on the event loop, or with executor="process"'
        case "async" if not is_async:
            reason = "a def would block the event loop: make it async def, or leave it to a thread"
        case "process" if "<" in getattr(function, "__qualname__", "<"):  # <locals>, <lambda>
            reason = (
                f"a process of its own cannot find {_described(function)}: it imports the module, "
                "and takes the function from there"
            )
        case _:
            return wanted or ("async" if is_async else "thread")
    raise ConfigurationError(f"task {name!r}, executor={wanted!r}: {reason}")


def _check_kind(function: object, name: str | None) -> None:
    """Raise ``ConfigurationError`` for what is no function, though it might be called."""
    calls = callable(function)
    named = hasattr(function, "__name__")  # as functions are, and wrappers that look like one
    if calls and named and not isinstance(function, _NO_FUNCTIONS):
        return
    shown = f"task {name!r}: " if name else ""
    what, instead = brief(function), "a def, or an async def"
    if calls:
        what, instead = _kind(function), "a def that calls it"
    raise ConfigurationError(f"{shown}{what} is no function: write {instead}")


def _described(function: Callable[..., Any]) -> str:
    return getattr(function, "__qualname__", None) or _kind(function)


def default_name(function: Callable[..., Any]) -> str:
    """``module.function``. Raises ``ConfigurationError`` where a worker could not find it."""
    name = getattr(function, "__name__", "<lambda>")
    if name == "<lambda>":
        raise ConfigurationError(
            f"{_kind(function)} has no name to be found by: use def, or task(name=...)"
        )
    module = function.__module__
    if module in {"__main__", "__mp_main__"}:
        spec = getattr(sys.modules["__main__"], "__spec__", None)
        if spec is None or spec.name.endswith("__main__"):
            raise ConfigurationError(
                f"task {name!r} is defined in __main__, which no worker can import: "
                "move it to a module, or give it a name with task(name=...)"
            )
        module = spec.name
    return f"{module}.{name}"


def _kind(function: object) -> str:
    kind = type(function).__name__
    if isinstance(function, type):
        return f"the class {function.__name__}"
    return "a lambda" if kind == "function" else f"a {kind} object"
