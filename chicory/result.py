"""The handle of a call: where it stands, and what it came to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any, Generic, TypeVar

from anyio import Event
from msgspec import UNSET, UnsetType

from chicory.backend import Backend
from chicory.errors import BackendNotConfiguredError
from chicory.record import StoredResult
from chicory.states import TaskState

R_co = TypeVar("R_co", covariant=True)

Read = Callable[[StoredResult], Any]
"""How to turn a stored value into what the task's annotation promises."""


class AsyncResult(Generic[R_co]):
    """The handle of one call; cheap, and good on any event loop.

    Attributes:
        task_id: identity of the call; ``app.result(task_id)`` gives a handle elsewhere.
    """

    __slots__ = ("_backend", "_read", "_timeout", "task_id")

    def __init__(
        self, task_id: str, backend: Backend | None, read: Read, timeout: float | None = None
    ) -> None:
        self.task_id = task_id
        self._backend = backend
        self._read = read
        self._timeout = timeout

    def __repr__(self) -> str:
        return f"AsyncResult({self.task_id!r})"

    async def get(self, timeout: float | UnsetType | None = UNSET) -> R_co:  # noqa: ASYNC109  (the users' name)
        """The return value, in its annotated type, as soon as it is there.

        Raises:
            TaskError: the task failed; carries the remote type, message and traceback.
            TaskCancelledError: it was cancelled.
            TimeoutError: nothing came within ``timeout`` seconds (``None``: wait for ever; not
                given: the app's ``result_default_timeout``). The call goes on.
            BackendNotConfiguredError: the app stores no results.
        """
        limit = self._timeout if timeout is UNSET else timeout
        stored = await self.backend.wait(self.task_id, limit)
        if stored.state.failed:
            raise stored.failure()
        return self._read(stored)

    async def state(self) -> TaskState:
        """Where the call stands now."""
        return await self.backend.state(self.task_id)

    async def ready(self) -> bool:
        """Whether it has come to its end."""
        return (await self.state()).final

    async def failed(self) -> bool:
        """Whether it has come to its end without a result."""
        return (await self.state()).failed

    @property
    def backend(self) -> Backend:
        """Where the result will be. Raises ``BackendNotConfiguredError``."""
        if self._backend is None:
            raise BackendNotConfiguredError(
                "this app stores no results: create it without backend=None to wait for them"
            )
        return self._backend


class Completed(AsyncIterator[AsyncResult[R_co]]):
    """Gives handles in the order in which their calls come to an end."""

    def __init__(self, results: Iterable[AsyncResult[R_co]]) -> None:
        self._results = {result.task_id: result for result in results}
        self._unasked = list(self._results.values())
        self._finished: list[str] = []
        self._arrived = Event()

    def __aiter__(self) -> Completed[R_co]:
        return self

    async def __anext__(self) -> AsyncResult[R_co]:
        while self._unasked:
            result = self._unasked[-1]
            await result.backend.subscribe(result.task_id, self._receive)
            self._unasked.pop()
        if not self._results:
            raise StopAsyncIteration
        while not self._finished:
            self._arrived = Event()
            await self._arrived.wait()
        return self._results.pop(self._finished.pop(0))

    def _receive(self, result: StoredResult) -> None:
        self._finished.append(result.task_id)
        self._arrived.set()
