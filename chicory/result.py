"""The handle of a call: where it stands, and what it came to."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any, Generic, TypeVar

from anyio import Event, move_on_after
from anyio.lowlevel import checkpoint
from msgspec import UNSET, Struct, UnsetType

from chicory import portal
from chicory.backend import Backend, check_timeout
from chicory.broker import Broker
from chicory.errors import BackendNotConfiguredError, BrokerConnectionError, ChicoryError
from chicory.progress import Progress
from chicory.record import StoredResult
from chicory.session import Outcome
from chicory.states import TaskState
from chicory.transport import Cancelled

R_co = TypeVar("R_co", covariant=True)

Read = Callable[[StoredResult], Any]
"""How to turn a stored value into what the task's annotation promises."""
AT_ONCE = 100
"""Results that are given one after the other before everybody else gets a turn."""
NO_BACKEND = "this app stores no results: create it without backend=None to wait for them"


class Source(Struct, frozen=True):
    """Where handles find what they are asked for; one for all calls of a task.

    Attributes:
        broker: where their calls are cancelled.
        backend: where results will be; ``None`` for nowhere.
        read: how a stored value is read.
        timeout: seconds that ``get`` waits where it is not told.
        why_not: why there is no backend.
    """

    broker: Broker
    backend: Backend | None
    read: Read
    timeout: float | None = None
    why_not: str = NO_BACKEND


class AsyncResult(Generic[R_co]):
    """The handle of one call; cheap, and good on any event loop.

    Attributes:
        task_id: identity of the call; ``app.result(task_id)`` gives a handle elsewhere.
        duplicate: whether ``delay`` published nothing, for this call with the same unique key
            lived already.
    """

    __slots__ = ("_source", "duplicate", "task_id")

    def __init__(self, task_id: str, source: Source, duplicate: bool = False) -> None:
        self.task_id = task_id
        self.duplicate = duplicate
        self._source = source

    def __repr__(self) -> str:
        return f"AsyncResult({self.task_id!r})"

    async def get(self, timeout: float | UnsetType | None = UNSET) -> R_co:  # noqa: ASYNC109  (the users' name)
        """The return value, in its annotated type, as soon as it is there.

        Raises:
            TaskError: the task failed; carries the remote type, message and traceback.
            TaskCancelledError: it was cancelled.
            TimeoutError: nothing came within ``timeout`` seconds (``None``: wait for ever; not
                given: the app's ``result_default_timeout``). The call goes on.
            ValidationError: the value does not fit the task's annotation; ``timeout`` is no number.
            BackendNotConfiguredError: the app, or the task, stores no results.
            BrokerConnectionError: the connection was lost or closed meanwhile.
        """
        limit = self._source.timeout if timeout is UNSET else timeout
        return self.value(await self.backend.wait(self.task_id, limit))

    def get_sync(self, timeout: float | UnsetType | None = UNSET) -> R_co:
        """``get`` for code without an event loop, from any thread.

        Raises as ``get`` does, and ``RuntimeError`` where an event loop runs in this thread.
        """
        return portal.run_sync("result.get_sync(...)", self.get, timeout)

    def value(self, outcome: Outcome) -> R_co:
        """What ``get`` gives or raises for this outcome of the call."""
        if isinstance(outcome, ChicoryError):
            raise outcome
        if outcome.state.failed:
            raise outcome.failure()
        return self._source.read(outcome)

    async def state(self) -> TaskState:
        """Where the call stands now."""
        return await self.backend.state(self.task_id)

    async def ready(self) -> bool:
        """Whether it has come to its end."""
        return (await self.state()).final

    async def failed(self) -> bool:
        """Whether it has come to its end without a result."""
        return (await self.state()).failed

    async def progress(self) -> Progress | None:
        """What the task reported last with ``ctx.progress``; ``None`` where there is no report.

        Raises ``BackendNotConfiguredError`` where the app, or the task, stores no results.
        """
        return await self.backend.progress(self.task_id)

    async def cancel(self) -> Cancelled:
        """Cancel the call; says what that did, as ``Broker.cancel`` does. True if anything.

        Raises ``BrokerConnectionError`` where the broker did not answer: cancel it again.
        """
        return await self._source.broker.cancel(self.task_id)

    @property
    def backend(self) -> Backend:
        """Where the result will be. Raises ``BackendNotConfiguredError``."""
        if self._source.backend is None:
            raise BackendNotConfiguredError(self._source.why_not)
        return self._source.backend


class Completed(AsyncIterator[AsyncResult[R_co]]):
    """Gives handles in the order in which their calls come to an end, each call once.

    Who does not iterate to the end should ``aclose()`` it: the rest is awaited no more then.
    Iterating again takes it up again.
    """

    def __init__(self, results: Iterable[AsyncResult[R_co]]) -> None:
        self._results = {result.task_id: result for result in listed(results)}
        self._subscriptions: list[Callable[[], None]] | None = None
        # a plain dict would look at all that was ever taken from its front
        self._finished: OrderedDict[str, Outcome] = OrderedDict()
        self._taken = 0
        self._lost: BrokerConnectionError | None = None
        self._arrived = Event()

    def __aiter__(self) -> Completed[R_co]:
        return self

    async def __anext__(self) -> AsyncResult[R_co]:
        result, _ = await self.take()
        return result

    @property
    def left(self) -> int:
        """Handles that are still to be given."""
        return len(self._results)

    async def take(self) -> tuple[AsyncResult[R_co], Outcome]:
        """The next handle, and what its call came to. Raises ``StopAsyncIteration``."""
        if not self._results:
            raise StopAsyncIteration
        try:
            if self._subscriptions is None:
                await self._subscribe()
            while not self._finished:
                await self._wait()
            self._taken += 1
            if self._taken % AT_ONCE == 0:
                await checkpoint()
        except BaseException:
            await self.aclose()
            raise
        task_id, outcome = self._finished.popitem(last=False)
        return self._results.pop(task_id), outcome

    async def aclose(self) -> None:
        """Await the rest no more."""
        subscriptions, self._subscriptions = self._subscriptions or [], None
        for unsubscribe in subscriptions:
            unsubscribe()

    async def _subscribe(self) -> None:
        self._subscriptions = []
        for backend in dict.fromkeys(result.backend for result in self._results.values()):
            task_ids = [
                task_id
                for task_id, result in self._results.items()
                if result.backend is backend and task_id not in self._finished
            ]
            self._subscriptions.append(await backend.subscribe(task_ids, self._receive))

    async def _wait(self) -> None:
        if self._lost is not None:
            error, self._lost = self._lost, None
            raise error
        self._arrived = Event()
        await self._arrived.wait()

    def _receive(self, task_id: str, outcome: Outcome) -> None:
        if isinstance(outcome, BrokerConnectionError):  # the call has not come to its end
            self._lost = outcome
        else:
            self._finished[task_id] = outcome
        self._arrived.set()


def listed(results: Iterable[AsyncResult[R_co]]) -> list[AsyncResult[R_co]]:
    """These handles. Raises ``TypeError`` for what is none, as where an ``await`` was forgotten."""
    if not isinstance(results, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance]  (not every caller is type-checked)
        kind = type(results).__name__
        raise TypeError(f"{kind} is no list of handles: write [await task.delay(...), ...]")
    found = list(results)
    for one in found:
        if not isinstance(one, AsyncResult):  # pyright: ignore[reportUnnecessaryIsInstance]  (likewise)
            raise TypeError(f"{type(one).__name__} is no handle: write await task.delay(...)")
    return found


async def collect(
    results: Iterable[AsyncResult[Any]],
    timeout: float | None,  # noqa: ASYNC109  (as in get)
) -> dict[str, Outcome]:
    """What these calls came to, by id. Raises ``TimeoutError``, and as ``check_timeout``."""
    check_timeout(timeout)
    completed = Completed(results)
    outcomes: dict[str, Outcome] = {}
    with move_on_after(math.inf if timeout is None else timeout) as scope:
        while completed.left:
            result, outcome = await completed.take()
            outcomes[result.task_id] = outcome
    if scope.cancelled_caught:
        missing, total = completed.left, completed.left + len(outcomes)
        raise TimeoutError(f"{missing} of {total} results did not come within {timeout:g} s")
    return outcomes
