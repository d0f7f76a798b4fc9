"""Many calls in few round trips: sent as they are asked for, each one answered for itself."""

from __future__ import annotations

from collections import deque
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Generator,
    Iterable,
    Iterator,
    Sequence,
)
from functools import partial
from itertools import islice
from typing import Any, Generic, TypeAlias, TypeVar

from msgspec import Struct, field

from chicory.batch import Batch, Batches, Form
from chicory.beside import beside
from chicory.broker import Broker
from chicory.clock import Clock
from chicory.errors import BrokerConnectionError, ChicoryError
from chicory.handles import Handles
from chicory.result import AsyncResult
from chicory.sender import Call
from chicory.transport import Accepted, PublishOutcome

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


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
        others = ", the others were" if self.enqueued else ""
        return (
            f"{len(self.refused)} of {total} calls were not enqueued{others}; "
            f"the first, number {first.index} of task {first.call.name}: {first.error}"
        )


Answer: TypeAlias = AsyncResult[R] | Refused
"""To one call."""
Outcomes: TypeAlias = Sequence[PublishOutcome | ChicoryError]
"""Of the publications of a batch."""


class Sent(Struct, Generic[R]):
    """What came of calls.

    Attributes:
        enqueued: the handles of those taken, in the order given.
        refused: the others.
        error: what they ended with, if not with their end.
        lost: the same, where it is that the connection was lost.
    """

    enqueued: Handles[R] = field(default_factory=Handles[R])
    refused: list[Refused] = []
    error: Exception | None = None
    lost: BrokerConnectionError | None = None

    @property
    def number(self) -> int:
        """How many calls were taken, or refused."""
        return len(self.enqueued) + len(self.refused)

    def note(self, answers: Iterable[Answer[R]]) -> None:
        """Take note of what came of the next calls."""
        for answer in answers:
            if isinstance(answer, Refused):
                self.refused.append(answer)
            else:
                self.enqueued.append(answer)

    def follow(self, latest: Sent[R]) -> None:
        """Take note of what came of more calls."""
        self.enqueued.extend(latest.enqueued)
        self.refused += latest.refused
        self.error, self.lost = latest.error, latest.lost

    def handles(self) -> Handles[R]:
        """The handles, or what ``Chicory.enqueue_many`` raises."""
        if self.lost is not None:  # of which the refused calls tell, too
            raise BulkError(self.enqueued, self.refused) from self.lost
        if self.error is not None:
            self.error.add_note(f"{len(self.enqueued)} calls before that were enqueued")
            raise self.error
        if self.refused:
            raise BulkError(self.enqueued, self.refused)
        return self.enqueued


class Bulk(AsyncIterator[AsyncResult[R_co] | Refused], Generic[R_co]):
    """Calls to be enqueued, counted from ``first``; see ``Chicory.enqueue_many``."""

    def __init__(
        self,
        calls: Iterable[Call[R_co]] | AsyncIterable[Call[R_co]],
        broker: Broker,
        clock: Clock,
        first: int = 0,
    ) -> None:
        self._source = aiter(calls) if isinstance(calls, AsyncIterable) else iter(calls)
        self._broker = broker
        self._clock = clock
        self._number = first
        self._batches = Batches[R_co](broker, clock)
        self._answers: deque[Answer[R_co]] = deque()
        self._end: Exception | None = None
        self._lost: BrokerConnectionError | None = None

    def __await__(self) -> Generator[Any, None, Handles[R_co]]:
        return self._handles().__await__()

    def __aiter__(self) -> Bulk[R_co]:
        return self

    async def __anext__(self) -> AsyncResult[R_co] | Refused:
        while not self._answers:
            if self._end is not None:
                raise self._end
            batch = await self._gather()
            self._answers.extend(self._answers_to(batch, await self._publish(batch)))
        return self._answers.popleft()

    async def send(self) -> Sent[R_co]:
        """Enqueue them all; raises nothing that is about them."""
        sent = Sent[R_co]()
        sent.note(self._answers)
        self._answers.clear()
        batch, following = Batch[R_co]([], []), await self._gather()
        outcomes: Outcomes = ()
        while following.calls:
            work = partial(self._note_and_gather, sent, batch, outcomes)
            batch = following
            outcomes, following = await self._publish_beside(batch, work)
        self._note(sent, batch, outcomes)
        sent.error = None if isinstance(self._end, StopAsyncIteration) else self._end
        sent.lost = self._lost
        return sent

    async def _handles(self) -> Handles[R_co]:
        return (await self.send()).handles()

    async def _publish_beside(
        self, batch: Batch[R_co], work: Callable[[], Awaitable[Batch[R_co]]]
    ) -> tuple[Outcomes, Batch[R_co]]:
        """Publish a batch, and do the work while the broker is at it, where that is worth it.

        Afterwards where the next call may be long in coming: a lost connection is told at once.
        """
        ask = partial(self._publish, batch)
        known = self._end is None and not isinstance(self._source, AsyncIterator)
        if known and self._broker.beside:
            return await beside(ask, work)
        return await ask(), await work()

    async def _note_and_gather(
        self, sent: Sent[R_co], batch: Batch[R_co], outcomes: Outcomes
    ) -> Batch[R_co]:
        self._note(sent, batch, outcomes)
        return await self._gather()

    async def _gather(self) -> Batch[R_co]:
        """The next batch. The end of the calls, or the error that they end with, is noted."""
        if self._end is None:
            try:
                if full := await self._fill():
                    return full
                self._end = StopAsyncIteration()
            except Exception as error:  # noqa: BLE001  (raised once what came before it is sent)
                self._end = error
        return self._batches.cut()

    async def _fill(self) -> Batch[R_co] | None:
        source, fill = self._source, self._batches.fill
        if not isinstance(source, AsyncIterator):
            return fill(source)
        async for call in source:
            if full := fill((call,)):
                return full
        return None

    async def _publish(self, batch: Batch[R_co]) -> Outcomes:
        publications = batch.publications
        if self._lost is not None:  # while these were put together
            return [self._lost] * len(publications)
        if not publications:
            return []
        outcomes = await self._broker.enqueue_all(publications)
        for outcome in outcomes:
            if isinstance(outcome, BrokerConnectionError):
                self._end = self._lost = outcome
        return outcomes

    def _note(self, sent: Sent[R_co], batch: Batch[R_co], outcomes: Outcomes) -> None:
        """Take note of what came of a batch; mostly each of its calls was accepted."""
        if len(outcomes) < len(batch.forms) or set(map(type, outcomes)) - {Accepted}:
            sent.note(self._answers_to(batch, outcomes))
            return
        self._number += len(outcomes)
        sent.enqueued.add(
            [publication.task_id for publication in batch.publications],
            [call.sender.source for call in batch.calls],
        )

    def _answers_to(self, batch: Batch[R_co], outcomes: Outcomes) -> list[Answer[R_co]]:
        first, self._number = self._number, self._number + len(batch.forms)
        rest = iter(outcomes)
        return [
            self._answer(number, call, form, rest)
            for number, (call, form) in enumerate(zip(batch.calls, batch.forms, strict=True), first)
        ]

    def _answer(
        self,
        number: int,
        call: Call[R_co],
        form: Form,
        outcomes: Iterator[PublishOutcome | ChicoryError],
    ) -> Answer[R_co]:
        if isinstance(form, ChicoryError):
            return Refused(number, call, form)
        outcome = next(outcomes)
        if not isinstance(outcome, ChicoryError):
            return call.sender.handle(form.task_id, outcome)
        return Refused(number, call, outcome)


def enqueue_batches(
    calls: Iterable[Call[R]], size: int, enqueue: Callable[[Sequence[Call[R]], int], Sent[R]]
) -> Handles[R]:
    """Take so many calls at a time, so that no more are held, and enqueue each batch.

    ``enqueue`` is told the number of the first one. Raises for all batches together; what the
    calls end with, and a lost connection, end it at once.
    """
    source, sent = iter(calls), Sent[R]()
    while sent.error is None:
        batch, error = _taken(source, size)
        if batch:
            sent.follow(enqueue(batch, sent.number))
        sent.error = sent.error or error
        if len(batch) < size:
            break
    return sent.handles()


def _taken(source: Iterator[Call[R]], size: int) -> tuple[list[Call[R]], Exception | None]:
    """The next calls; and, where an error is in the place of the next one, that."""
    batch: list[Call[R]] = []
    try:
        for call in islice(source, size):
            batch.append(call)  # noqa: PERF402  (what came before an error is kept)
    except Exception as error:  # noqa: BLE001  (raised once what came before it is sent)
        return batch, error
    return batch, None
