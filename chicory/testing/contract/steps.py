"""What many tests do in the same words."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable, Sequence
from itertools import count as counting

from anyio import Event, create_task_group, fail_after
from anyio.lowlevel import checkpoint

from chicory.testing.contract.harness import Harness
from chicory.transport import (
    Counts,
    Dead,
    DeadLetter,
    Delivery,
    Done,
    Priority,
    Publication,
    Record,
    Retry,
    Transport,
    Unique,
)

QUEUE = "q"
TTL = 1e6
"""Seconds: longer than any test's time passes."""

LATER = 1e5
"""Seconds: what is delayed by so much does not become due in a test, however slow the broker."""

TICKS = (*range(10), *range(10), 12, 15, 20, 25, 35, 50, 70, 100, 150, 250, 400)
"""After how many turns of the scheduler a verb is interrupted.

The first ones twice: a scheduler may shuffle. The last ones for brokers that are far away.
"""

_WATCHERS = 3
_serial = counting(1)


def message(
    task_id: str,
    *,
    queue: str = QUEUE,
    body: bytes | None = None,
    priority: Priority = Priority.NORMAL,
    not_before: float = 0.0,
    unique: str | None = None,
) -> Publication:
    """A publication whose body tells its id."""
    return Publication(
        queue,
        task_id,
        body_of(task_id) if body is None else body,
        priority,
        not_before,
        Unique(unique, TTL) if unique else None,
    )


def body_of(task_id: str) -> bytes:
    """What ``message`` puts into it."""
    return f"\x00 body of {task_id}".encode()


def record(task_id: str, body: bytes | None = b"result", ttl: float = TTL) -> Record:
    """A record."""
    return Record(task_id, body, ttl)


def letter(delivery: Delivery, letter_id: str | None = None) -> DeadLetter:
    """A dead letter for a delivery, given up later than those before it."""
    return DeadLetter(
        id=letter_id or f"letter {delivery.task_id}",
        queue=delivery.queue,
        task_id=delivery.task_id,
        body=delivery.body,
        reason="failed",
        error="it did not work",
        retries=delivery.deliveries,
        failed_at=float(next(_serial)),
        priority=delivery.priority,
    )


def done(
    delivery: Delivery, body: bytes | None = None, follow_ups: Iterable[Publication] = ()
) -> Done:
    """The settlement of what went well, with a record where ``body`` is given."""
    stored = record(delivery.task_id, body) if body is not None else None
    return Done(delivery.receipt, stored, tuple(follow_ups))


def retry(delivery: Delivery, not_before: float = 0.0, body: bytes = b"again") -> Retry:
    """The settlement of what is to be tried again."""
    return Retry(
        delivery.receipt,
        Publication(delivery.queue, delivery.task_id, body, delivery.priority, not_before),
    )


def dead(delivery: Delivery, letter_id: str | None = None) -> Dead:
    """The settlement of what is given up."""
    return Dead(delivery.receipt, letter(delivery, letter_id))


def ids(deliveries: Iterable[Delivery | DeadLetter]) -> list[str]:
    """The calls, in order."""
    return [delivery.task_id for delivery in deliveries]


def live(counts: Counts) -> int:
    """How many messages a queue has, wherever they are."""
    return counts.ready + counts.delayed + counts.leased


async def take(
    transport: Transport, limit: int = 100, queues: Sequence[str] = (QUEUE,)
) -> list[Delivery]:
    """Fetch what is there now."""
    return list(await transport.fetch(queues, limit, 0))


async def take_one(transport: Transport) -> Delivery:
    """Fetch the only message that is there now."""
    (delivery,) = await take(transport)
    return delivery


async def give(transport: Transport, *task_ids: str) -> list[Delivery]:
    """Publish plain messages and fetch them."""
    await transport.publish([message(task_id) for task_id in task_ids])
    return await take(transport)


async def await_some(harness: Harness, transport: Transport, limit: int = 100) -> list[Delivery]:
    """Wait for messages, in patience."""
    with fail_after(harness.patience):
        return list(await transport.fetch([QUEUE], limit, math.inf))


async def await_so_many(
    harness: Harness, transport: Transport, number: int, queues: Sequence[str] = (QUEUE,)
) -> list[Delivery]:
    """Wait for a number of messages: a fetch may answer with fewer than are there."""
    found: list[Delivery] = []
    with fail_after(harness.patience):
        while len(found) < number:
            found += await transport.fetch(queues, number - len(found), math.inf)
    return found


async def count(transport: Transport, queue: str = QUEUE) -> Counts:
    """Count one queue."""
    return (await transport.counts([queue]))[queue]


async def interrupt(verb: Callable[[], Awaitable[object]], ticks: int) -> bool:
    """Begin a verb, and cancel it after some turns of the scheduler; whether it had returned."""
    returned = False

    async def run() -> None:
        nonlocal returned
        await verb()
        returned = True

    async with create_task_group() as group:
        group.start_soon(run)
        for _ in range(ticks):
            await checkpoint()
        group.cancel_scope.cancel()
    return returned


async def observe(
    verb: Callable[[], Awaitable[object]], look: Callable[[], Awaitable[object]]
) -> None:
    """Call ``look`` over and over while a verb runs, at least once before and once after it.

    Several tasks look, each a turn later than the one before: some look falls between any two
    steps of the verb.
    """
    looked, over = [Event() for _ in range(_WATCHERS)], Event()

    async def watch(number: int) -> None:
        for _ in range(number):
            await checkpoint()
        while not over.is_set():
            await look()
            looked[number].set()
            await checkpoint()

    async with create_task_group() as group:
        for number in range(_WATCHERS):
            group.start_soon(watch, number)
        for event in looked:
            await event.wait()
        await verb()
        over.set()
    await look()


async def until_idle() -> None:
    """Give other tasks the turns that they need to come to a wait."""
    for _ in range(10):
        await checkpoint()


class Heard:
    """A sink that remembers."""

    def __init__(self, harness: Harness) -> None:
        self._patience = harness.patience
        self._event = Event()
        self.records: list[tuple[str, bytes]] = []

    def __call__(self, task_id: str, body: bytes) -> None:
        self.records.append((task_id, body))
        self._event.set()

    async def until(self, number: int) -> list[tuple[str, bytes]]:
        """Wait for so many records."""
        with fail_after(self._patience):
            while len(self.records) < number:
                self._event = Event()
                await self._event.wait()
        return self.records

    async def until_hearing(self, task_id: str, body: bytes) -> None:
        """Wait for this record."""
        with fail_after(self._patience):
            while (task_id, body) not in self.records:
                self._event = Event()
                await self._event.wait()
