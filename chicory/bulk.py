"""Many calls in few round trips: sent as they are asked for, each one answered for itself."""

from __future__ import annotations

from collections import deque
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Callable,
    Generator,
    Iterable,
    Sequence,
)
from itertools import islice
from typing import Any, Generic, TypeAlias, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from chicory.broker import Broker
from chicory.errors import BrokerConnectionError, ChicoryError
from chicory.result import AsyncResult
from chicory.sender import Call
from chicory.transport import Publication

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
_Prepared: TypeAlias = tuple[Call[Any], Publication | ChicoryError]
"""A call, and what to publish for it or why that cannot be."""

MAX_CALLS, MAX_BYTES = 256, 1 << 20
"""Of one batch, that is one round trip, and on Redis one step; bytes of encoded messages."""


class Refused(Struct, frozen=True):
    """A call that was not enqueued; the others were.

    Attributes:
        index: which one it was, from 0.
        call: the call.
        error: why. A ``BrokerConnectionError`` leaves open whether the call was published.
    """

    index: int
    call: Call[Any]
    error: ChicoryError


class BulkError(ChicoryError):
    """Some calls of ``await app.enqueue_many(...)`` were refused.

    Attributes:
        enqueued: the handles of the others, in the order given.
        refused: those that were not enqueued.
    """

    def __init__(self, enqueued: Sequence[AsyncResult[Any]], refused: Sequence[Refused]) -> None:
        super().__init__(enqueued, refused)
        self.enqueued = enqueued
        self.refused = refused

    def __str__(self) -> str:
        first, total = self.refused[0], len(self.enqueued) + len(self.refused)
        return (
            f"{len(self.refused)} of {total} calls were not enqueued, the others were; "
            f"the first, number {first.index} of task {first.call.name}: {first.error}"
        )


class Bulk(AsyncIterator[AsyncResult[R_co] | Refused], Generic[R_co]):
    """Calls to be enqueued; made by ``Chicory.enqueue_many``, which see."""

    def __init__(
        self, calls: Iterable[Call[R_co]] | AsyncIterable[Call[R_co]], broker: Broker
    ) -> None:
        self._source = aiter(calls) if isinstance(calls, AsyncIterable) else iter(calls)
        self._broker = broker
        self._number = 0
        self._batch: list[_Prepared] = []
        self._size = 0
        self._answers: deque[AsyncResult[R_co] | Refused] = deque()
        self._end: Exception | None = None

    def __await__(self) -> Generator[Any, None, list[AsyncResult[R_co]]]:
        return self._send_all().__await__()

    def __aiter__(self) -> Bulk[R_co]:
        return self

    async def __anext__(self) -> AsyncResult[R_co] | Refused:
        while not self._answers:
            if self._end is not None:
                raise self._end
            await self._send(await self._gather())
        return self._answers.popleft()

    async def _send_all(self) -> list[AsyncResult[R_co]]:
        enqueued: list[AsyncResult[R_co]] = []
        refused: list[Refused] = []
        while self._answers or self._end is None:
            for one in self._answers:
                if isinstance(one, Refused):
                    refused.append(one)
                else:
                    enqueued.append(one)
            self._answers.clear()
            if self._end is None:
                await self._send(await self._gather())
        if isinstance(self._end, BrokerConnectionError):  # of which the refused calls tell, too
            raise BulkError(enqueued, refused) from self._end
        if not isinstance(self._end, StopAsyncIteration):
            self._end.add_note(f"{len(enqueued)} calls before that were enqueued")
            raise self._end
        if refused:
            raise BulkError(enqueued, refused)
        return enqueued

    async def _gather(self) -> list[_Prepared]:
        """The next batch. The end of the calls, or the error that they end with, is noted."""
        source = self._source
        try:
            if isinstance(source, AsyncIterator):
                async for call in source:
                    if full := self._add(call):
                        return full
            else:
                for call in source:
                    if full := self._add(call):
                        return full
            self._end = StopAsyncIteration()
        except Exception as error:  # noqa: BLE001  (raised once what came before it is sent)
            self._end = error
        return self._cut([], 0)

    def _add(self, call: Call[Any]) -> list[_Prepared] | None:
        """Put a call into the batch; gives the batch once there is no room for more."""
        form = self._prepare(call)
        size = len(form.body) if isinstance(form, Publication) else 0
        if self._batch and self._size + size > MAX_BYTES:
            return self._cut([(call, form)], size)
        self._batch.append((call, form))
        self._size += size
        return self._cut([], 0) if len(self._batch) == MAX_CALLS else None

    def _cut(self, held: list[_Prepared], size: int) -> list[_Prepared]:
        """The batch; the next one begins with what is held."""
        batch, self._batch, self._size = self._batch, held, size
        return batch

    def _prepare(self, call: Call[Any]) -> Publication | ChicoryError:
        if not isinstance(call, Call):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"{type(call).__name__} is no call: write task.call(...)")
        try:
            return call.prepare(self._broker)
        except ChicoryError as error:
            return error

    async def _send(self, batch: Sequence[_Prepared]) -> None:
        publications = [form for _, form in batch if isinstance(form, Publication)]
        outcomes = iter(await self._broker.enqueue_all(publications) if publications else ())
        for call, form in batch:
            if isinstance(form, ChicoryError):
                self._refuse(call, form)
            elif isinstance(outcome := next(outcomes), ChicoryError):
                self._refuse(call, outcome)
            else:
                self._answers.append(call.handle(form.task_id, outcome))
            self._number += 1

    def _refuse(self, call: Call[Any], error: ChicoryError) -> None:
        self._answers.append(Refused(self._number, call, error))
        if isinstance(error, BrokerConnectionError):
            self._end = error


def enqueue_batches(
    calls: Iterable[Call[R]], enqueue: Callable[[Sequence[Call[R]]], list[AsyncResult[R]]]
) -> list[AsyncResult[R]]:
    """Take calls by the batch, so that no more than one is held, and enqueue each batch.

    Raises ``BulkError`` for all batches together; a lost connection ends it at once.
    """
    enqueued: list[AsyncResult[R]] = []
    refused: list[Refused] = []
    source, first = iter(calls), 0
    while batch := list(islice(source, MAX_CALLS)):
        try:
            enqueued += enqueue(batch)
        except BulkError as error:
            enqueued += error.enqueued
            refused += [replace(one, index=first + one.index) for one in error.refused]
            if error.__cause__ is not None:
                raise BulkError(enqueued, refused) from error.__cause__
        first += len(batch)
    if refused:
        raise BulkError(enqueued, refused)
    return enqueued
