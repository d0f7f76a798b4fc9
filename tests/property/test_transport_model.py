"""SQLite answers as the transport in memory does, whatever is asked of both, in whatever order.

Hypothesis prints the sequence that found a difference. The default run is the same each time;
``CHICORY_EXAMPLES=5000 pytest tests/property`` searches where none has looked yet.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from itertools import count, cycle, permutations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from msgspec import Struct
from msgspec.structs import replace

from chicory.testing import ManualClock, MemoryTransport
from chicory.transport import (
    Dead,
    DeadLetter,
    Delivery,
    Done,
    Priority,
    Publication,
    Record,
    Release,
    Retry,
    Settlement,
    Transport,
    TransportSettings,
    Unique,
    WorkerRecord,
)
from chicory_sqlite import SQLiteTransport

pytestmark = pytest.mark.slow
T = TypeVar("T")

LEASE = 8.0
QUEUES = ("a", "b")
IDS = tuple("1234567")
EXAMPLES = int(os.environ.get("CHICORY_EXAMPLES", "0"))


class Wish(Struct, frozen=True):
    """A publication, its times counted from now; ``None`` for a message without a delay."""

    queue: str
    task_id: str
    priority: Priority
    delay: float | None
    key: str | None
    ttl: float

    def publication(self, now: float, body: bytes) -> Publication:
        due = 0.0 if self.delay is None else now + self.delay
        unique = None if self.key is None else Unique(self.key, self.ttl)
        return Publication(self.queue, self.task_id, body, self.priority, due, unique)


class Outcome(Struct, frozen=True):
    """A settlement without its receipt."""

    kind: type[Done | Retry | Dead | Release]
    again: Wish
    record: bytes | None
    ttl: float


class Fetched(Struct, frozen=True):
    """One message, as either transport delivered it."""

    model: Delivery
    real: Delivery


class Asked(Struct, frozen=True):
    """One side of the comparison: a transport, and its receipt of a delivery."""

    transport: Transport
    side: str

    def receipt(self, fetched: Fetched) -> object:
        return getattr(fetched, self.side).receipt


queues = st.sampled_from(QUEUES)
ids = st.sampled_from(IDS)
back = st.sampled_from([0, 0, 0, 1, 1, 2, 3, 5, 9])
late = st.sampled_from([0.0, 0.0, 0.0, 0.5, 4.0, LEASE])
seconds = st.sampled_from([0.5, 3.0, LEASE - 1, LEASE, 20.0])
orders = st.sampled_from([order for size in (1, 2) for order in permutations(QUEUES, size)])
wishes = st.builds(
    Wish,
    queue=queues,
    task_id=ids,
    priority=st.sampled_from(Priority),
    delay=st.sampled_from([None, None, None, -1.0, 0.5, 3.0, LEASE]),
    key=st.sampled_from([None, None, "x", "y"]),
    ttl=seconds,
)
batches = st.lists(wishes, min_size=2, max_size=5)
records = st.none() | st.sampled_from([b"", b"one", b"two"])
outcomes = st.builds(
    Outcome,
    kind=st.sampled_from([Done, Retry, Dead, Release]),
    again=wishes,
    record=records,
    ttl=seconds,
)


class TransportModel(RuleBasedStateMachine):
    """Every rule asks both transports the same."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[Fetched] = []
        self.letters: list[str] = []
        self.serial = count(1).__next__
        self.swaps = cycle((True, False, False, True, True))
        self.clock = ManualClock()
        self.folder = TemporaryDirectory()
        path = Path(self.folder.name) / "chicory.db"
        self.runner = asyncio.Runner()
        self.model = MemoryTransport(self.settings("memory://"))
        self.real = SQLiteTransport(self.settings(f"sqlite:///{path}?synchronous=off"))
        self.other = self.real.clone()
        for transport in (self.model, self.real, self.other):
            self.runner.run(transport.open())

    def teardown(self) -> None:
        try:
            self.drain()
        finally:
            for transport in (self.model, self.real, self.other):
                self.runner.run(transport.close())
            self.runner.close()
            self.folder.cleanup()

    def drain(self) -> None:
        """What is left is the same, and comes in the same order."""
        for queue in QUEUES:
            self.agree(lambda on, queue=queue: on.transport.set_paused(queue, paused=False))
        self.clock.advance(1000)
        self.agree(lambda on: on.transport.dead_letters())
        self.agree(lambda on: _anonymous(on.transport.fetch(QUEUES, 1000, 0)))

    def settings(self, url: str) -> TransportSettings:
        return TransportSettings(url=url, lease=LEASE, clock=self.clock)

    def ask(self, verb: Callable[[Asked], Awaitable[T]]) -> tuple[T, T]:
        if next(self.swaps):  # whichever connection is asked, it is one broker
            self.real, self.other = self.other, self.real
        model = self.runner.run(_call(verb, Asked(self.model, "model")))
        real = self.runner.run(_call(verb, Asked(self.real, "real")))
        return model, real

    def agree(self, verb: Callable[[Asked], Awaitable[object]]) -> None:
        model, real = self.ask(verb)

        assert _plain(real) == _plain(model)

    def recent(self, back: int) -> Fetched:
        """One that was fetched lately: whoever settles an old one is fenced out."""
        return self.fetched[-1 - back % len(self.fetched)]

    def letter(self, back: int) -> str:
        return self.letters[-1 - back % len(self.letters)]

    def body(self) -> bytes:
        return b"body %d" % self.serial()

    @rule(batch=batches)
    def publish(self, batch: list[Wish]) -> None:
        now = self.clock.now()
        publications = [wish.publication(now, self.body()) for wish in batch]

        self.agree(lambda on: on.transport.publish(publications))

    @rule(late=late, order=orders, limit=st.integers(1, 4))
    def fetch(self, late: float, order: tuple[str, ...], limit: int) -> None:
        self.clock.advance(late)

        model, real = self.ask(lambda on: on.transport.fetch(order, limit, 0))

        assert [_bare(one) for one in real] == [_bare(one) for one in model]
        self.fetched += map(Fetched, model, real)

    @rule(batch=batches, late=late, order=orders, limit=st.integers(1, 4))
    def publish_and_fetch(
        self, batch: list[Wish], late: float, order: tuple[str, ...], limit: int
    ) -> None:
        self.publish(batch)
        self.fetch(late, order, limit)

    @precondition(lambda self: self.fetched)
    @rule(late=late, backs=st.lists(back, min_size=1, max_size=3))
    def renew(self, late: float, backs: list[int]) -> None:
        self.clock.advance(late)
        renewed = [self.recent(back) for back in backs]

        self.agree(lambda on: on.transport.renew([on.receipt(one) for one in renewed]))

    @precondition(lambda self: self.fetched)
    @rule(back=back, outcome=outcomes, follow_ups=st.lists(wishes, max_size=2))
    def settle(self, back: int, outcome: Outcome, follow_ups: list[Wish]) -> None:
        now = self.clock.now()
        after = tuple(wish.publication(now, self.body()) for wish in follow_ups)

        self.settle_all([(self.recent(back), outcome)], after)

    @precondition(lambda self: self.fetched)
    @rule(batch=st.lists(st.tuples(back, outcomes), min_size=2, max_size=3))
    def settle_some(self, batch: list[tuple[int, Outcome]]) -> None:
        # without follow-ups: what is published after one item may find the next one live or gone
        self.settle_all([(self.recent(back), outcome) for back, outcome in batch], ())

    def settle_all(
        self, batch: list[tuple[Fetched, Outcome]], follow_ups: tuple[Publication, ...]
    ) -> None:
        now, body = self.clock.now(), self.body()
        names = [f"letter {self.serial()}" for _ in batch]

        self.agree(
            lambda on: on.transport.settle(
                [
                    _settlement(outcome, fetched, on, now, body, name, follow_ups)
                    for (fetched, outcome), name in zip(batch, names, strict=True)
                ]
            )
        )
        outcomes = [outcome.kind for _, outcome in batch]
        self.letters += [name for name, kind in zip(names, outcomes, strict=True) if kind is Dead]

    @rule(batch=st.lists(ids, min_size=1, max_size=2, unique=True), ttl=seconds)
    def cancel(self, batch: list[str], ttl: float) -> None:
        cancellations = [Record(task_id, b"cancelled", ttl) for task_id in batch]

        self.agree(lambda on: on.transport.cancel(cancellations))

    @rule(task_id=ids, body=records, ttl=seconds)
    def store(self, task_id: str, body: bytes | None, ttl: float) -> None:
        self.agree(lambda on: on.transport.store([Record(task_id, body, ttl)]))

    @rule(queue=queues, then=st.sampled_from(["pause", "resume", "purge", "purge dead"]))
    def manage(self, queue: str, then: str) -> None:
        self.agree(lambda on: on.transport.set_paused(queue, then == "pause"))
        if then.startswith("purge"):
            self.agree(lambda on: on.transport.purge(queue, dead=then == "purge dead"))

    @precondition(lambda self: self.letters)
    @rule(back=back, wish=wishes, again=st.booleans())
    def replay(self, back: int, wish: Wish, again: bool) -> None:
        item = (self.letter(back), wish.publication(self.clock.now(), self.body()))

        self.agree(lambda on: on.transport.replay([item] * (1 + again)))

    @precondition(lambda self: self.letters)
    @rule(back=back)
    def discard(self, back: int) -> None:
        letter_id = self.letter(back)

        self.agree(lambda on: on.transport.discard([letter_id, "no letter"]))

    @rule(worker=st.sampled_from("vw"), ttl=st.sampled_from([-1.0, 3.0, 20.0]))
    def beat(self, worker: str, ttl: float) -> None:
        record = WorkerRecord(worker, QUEUES, self.body())

        self.agree(lambda on: on.transport.beat(record, ttl))

    @rule(passed=seconds)
    def reopen(self, passed: float) -> None:
        async def begin_again(transport: T) -> T:
            clone = transport.clone()
            await transport.close()
            await clone.open()
            return clone

        self.clock.advance(passed)
        self.model = self.runner.run(begin_again(self.model))
        self.real = self.runner.run(begin_again(self.real))

    @invariant()
    def everything_seen_is_the_same(self) -> None:
        if self.serial() % 3 == 0:
            return  # to look can be what makes the difference

        async def look(on: Asked) -> object:
            standings = await on.transport.look_up(IDS)
            workers = await on.transport.workers()
            letters = await on.transport.dead_letters()
            return [
                standings,
                letters,
                await on.transport.find_dead([*self.letters[-3:], "no letter"]),
                await on.transport.dead_letters("a", limit=2),
                await on.transport.dead_letters("b", after=letters[0].id if letters else None),
                dict(await on.transport.counts()),
                dict(await on.transport.counts([*QUEUES, "unknown"])),
                [worker for worker in workers if worker.expires_at > self.clock.now()],
            ]

        self.agree(look)


async def _call(verb: Callable[[Asked], Awaitable[T]], asked: Asked) -> T:
    return await verb(asked)


async def _anonymous(fetching: Awaitable[list[Delivery]]) -> list[Delivery]:
    return [_bare(delivery) for delivery in await fetching]


def _bare(delivery: Delivery) -> Delivery:
    return replace(delivery, receipt=None)


def _plain(answer: object) -> object:
    return list(answer) if isinstance(answer, tuple) else answer


def _settlement(
    outcome: Outcome,
    fetched: Fetched,
    on: Asked,
    now: float,
    body: bytes,
    letter_id: str,
    follow_ups: tuple[Publication, ...],
) -> Settlement:
    receipt, delivery = on.receipt(fetched), fetched.model
    record = Record(delivery.task_id, outcome.record, outcome.ttl)
    again = outcome.again.publication(now, body)
    if outcome.kind is Release:
        return Release(receipt, again.not_before)
    if outcome.kind is Retry:
        return Retry(receipt, replace(again, task_id=delivery.task_id), record, follow_ups)
    if outcome.kind is Dead:
        return Dead(receipt, _letter(letter_id, delivery, now), record, follow_ups)
    return Done(receipt, record, follow_ups)


def _letter(letter_id: str, delivery: Delivery, now: float) -> DeadLetter:
    return DeadLetter(
        letter_id,
        delivery.queue,
        delivery.task_id,
        delivery.body,
        "failed",
        "it did not work",
        1,
        now,
        delivery.priority,
    )


TestTransportModel = TransportModel.TestCase
TestTransportModel.settings = settings(
    max_examples=EXAMPLES or 60,
    stateful_step_count=60,
    derandomize=not EXAMPLES,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)
