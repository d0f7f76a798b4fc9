"""Many calls at once: in order, each answered for itself, and never more than a batch in memory."""

import math
import tracemalloc
from typing import ClassVar

import anyio
import pytest
from anyio import fail_after
from anyio.lowlevel import checkpoint
from msgspec.structs import replace

from chicory import AsyncResult, BulkError, Chicory, Refused
from chicory import message as messages
from chicory.batch import MAX_BYTES
from chicory.errors import (
    BrokerConnectionError,
    ConfigurationError,
    MessageTooLargeError,
    QueueFullError,
    ValidationError,
)
from chicory.testing.memory import MemoryTransport
from chicory.transport import Accepted

BATCH = MemoryTransport.abilities.bulk


def work(number: int, ballast: str = "") -> int:
    return number


@pytest.fixture
def task(app):
    return app.task(name="work")(work)


class Server(MemoryTransport):
    """Takes no message whose body is in ``hated``, no more batches than it ``lasts``."""

    hated: ClassVar[set[bytes]] = set()
    lasts = math.inf
    batches: ClassVar[list[int]] = []

    async def publish(self, publications):
        self.batches.append(len(publications))
        if len(self.batches) > self.lasts:
            raise BrokerConnectionError("it is down")
        liked = [one for one in publications if not any(hated in one.body for hated in self.hated)]
        outcomes = await super().publish(liked)
        if len(liked) < len(publications):  # each item is done whole or not begun
            raise QueueFullError("no room")
        return outcomes


@pytest.fixture
def server(app, monkeypatch):
    monkeypatch.setattr(Server, "batches", [])
    monkeypatch.setattr(Server, "hated", set())
    monkeypatch.setattr(Server, "lasts", math.inf)
    template = app.broker_link.template
    app.broker_link.template = Server(template._settings, template._store)
    return Server


class Slow(Server):
    """Answers a batch when it is let; ``begun`` and ``gate`` are of its first one."""

    abilities = replace(Server.abilities, beside=True)
    begun: ClassVar[anyio.Event]
    gate: ClassVar[anyio.Event]

    async def publish(self, publications):
        self.begun.set()
        await self.gate.wait()
        return await super().publish(publications)


@pytest.fixture
def slow(app, server, monkeypatch):
    monkeypatch.setattr(Slow, "begun", anyio.Event(), raising=False)
    monkeypatch.setattr(Slow, "gate", anyio.Event(), raising=False)
    template = app.broker_link.template
    app.broker_link.template = Slow(template._settings, template._store)
    return Slow


class Forgetful(MemoryTransport):
    """Answers as a server would, which keeps the messages in memory that is not ours."""

    async def publish(self, publications):
        return [Accepted()] * len(publications)


async def count(app):
    return await app.broker.get_queue_size()


async def test_each_call_has_its_handle_in_the_order_given(app, task, server):
    number = 3 * BATCH + 1

    handles = await app.enqueue_many(task.call(n) for n in range(number))

    transport = (await app.broker_link.session()).transport
    stored = [one.task_id for one in await transport.fetch(["default"], 10_000, 0)]
    assert [handle.task_id for handle in handles] == stored
    assert server.batches == [BATCH] * 3 + [1]


async def test_a_handle_is_made_when_it_is_asked_for_and_stays_the_same(app, task, monkeypatch):
    made: list[str] = []
    make = AsyncResult.__init__

    def note(self: AsyncResult[int], task_id: str, *rest: object) -> None:
        made.append(task_id)
        make(self, task_id, *rest)

    monkeypatch.setattr(AsyncResult, "__init__", note)

    handles = await app.enqueue_many(task.call(number) for number in range(2 * BATCH))

    assert made == []
    last = handles[-1]
    assert made == [last.task_id]
    every = list(handles)
    assert every[-1] is last
    assert [one is other for one, other in zip(every, handles, strict=True)] == [True] * 2 * BATCH
    assert handles[BATCH:3:-2] == every[BATCH:3:-2]
    assert len({one.task_id for one in every}) == len(made) == len(handles) == 2 * BATCH
    assert last in handles
    assert repr(handles) == f"<{2 * BATCH} handles>"
    with pytest.raises(IndexError):
        handles[2 * BATCH]


async def test_calls_of_several_kinds_stay_in_the_order_given(app, task):
    later, once = task.options(delay=0.0), task.options(unique=str)
    kinds = [task, task, later, once, task, app.task(name="other")(work)]
    calls = [kinds[n % len(kinds)].call(n) for n in range(40)]
    calls[20] = task.call("twenty")

    answers = [one async for one in app.enqueue_many(calls)]

    transport = (await app.broker_link.session()).transport
    stored = await transport.fetch(["default"], 100, 0)
    assert [one.task_id for one in stored] == [
        one.task_id for one in answers if not isinstance(one, Refused)
    ]
    numbers = [messages.decode_whole(one.body).args[0] for one in stored]
    assert numbers == [n for n in range(40) if n != 20]
    assert [one.index for one in answers if isinstance(one, Refused)] == [20]


async def test_a_call_is_of_the_time_at_which_its_batch_is_sent(app, task, clock):
    def calls():
        yield task.call(0)
        clock.advance(5)
        yield task.call(1)

    begin = clock.now()
    await app.enqueue_many(calls())

    transport = (await app.broker_link.session()).transport
    stored = await transport.fetch(["default"], 2, 0)
    assert [messages.decode(one.body).enqueued_at - begin for one in stored] == [5, 5]


@pytest.mark.parametrize("bulk", [1, 7, 1_000])
async def test_a_batch_is_as_large_as_the_transport_likes_it(app, task, server, monkeypatch, bulk):
    monkeypatch.setattr(Server, "abilities", replace(Server.abilities, bulk=bulk))

    handles = await app.enqueue_many(task.call(n) for n in range(20))

    assert len(handles) == await count(app) == 20
    assert server.batches == [bulk] * (20 // bulk) + [20 % bulk] * (20 % bulk > 0)


async def test_nothing_is_nothing(app, server):
    assert list(await app.enqueue_many([])) == []
    assert server.batches == []


async def test_calls_are_taken_a_batch_at_a_time_as_they_are_wanted(app, task):
    taken = []

    def calls():
        for number in range(10_000):
            taken.append(number)
            yield task.call(number)

    bulk = app.enqueue_many(calls())
    for number in range(1, 2 * BATCH + 1):
        await anext(bulk)
        assert len(taken) <= number + BATCH
        assert await count(app) == len(taken)


async def test_large_calls_are_taken_few_at_a_time(app, task):
    taken = []

    def calls():
        for number in range(100):
            taken.append(number)
            yield task.call(number, "x" * (MAX_BYTES // 4))

    bulk = app.enqueue_many(calls())
    await anext(bulk)

    assert await count(app) == 3
    assert len(taken) == 4
    assert len([one async for one in bulk]) == 99
    assert await count(app) == len(taken) == 100


async def test_an_asynchronous_source_will_do(app, task):
    async def calls():
        for number in range(5):
            await checkpoint()
            yield task.call(number)

    assert len(await app.enqueue_many(calls())) == 5


async def test_the_next_batch_is_put_together_while_the_broker_has_one(app, task, slow):
    taken = []

    def calls():
        for number in range(4 * BATCH):
            assert number < BATCH * (2 + len(slow.batches))  # no more than that one
            taken.append(number)
            if number == 2 * BATCH - 1:  # which is not taken where one waits for the other
                slow.gate.set()
            yield task.call(number)

    with fail_after(60):
        handles = await app.enqueue_many(calls())

    transport = (await app.broker_link.session()).transport
    stored = [one.task_id for one in await transport.fetch(["default"], 10_000, 0)]
    assert [handle.task_id for handle in handles] == stored
    assert slow.batches == [BATCH] * 4


async def test_what_was_put_together_while_the_connection_was_lost_is_not_sent(app, task, slow):
    slow.lasts = 0

    def calls():
        for number in range(4 * BATCH):
            if number == 2 * BATCH - 1:
                slow.gate.set()
            yield task.call(number)

    with fail_after(60), pytest.raises(BulkError) as caught:
        await app.enqueue_many(calls())

    assert [one.index for one in caught.value.refused] == list(range(2 * BATCH))
    assert slow.batches == [BATCH]


async def test_where_the_next_call_may_be_long_in_coming_none_is_awaited(app, task, slow):
    slow.lasts = 0
    slow.gate.set()

    async def calls():
        for number in range(BATCH):
            yield task.call(number)
        await anyio.sleep_forever()

    with fail_after(60), pytest.raises(BulkError) as caught:
        await app.enqueue_many(calls())

    assert len(caught.value.refused) == BATCH


async def test_who_is_cancelled_sends_no_more(app, task, slow):
    async def enqueue():
        await app.enqueue_many(task.call(number) for number in range(4 * BATCH))

    with fail_after(60):
        async with anyio.create_task_group() as group:
            group.start_soon(enqueue)
            await slow.begun.wait()
            group.cancel_scope.cancel()

    assert slow.batches == []
    assert await count(app) == 0


async def test_an_error_of_the_transport_comes_as_it_is(app, task, monkeypatch):
    async def publish(self, publications):
        raise LookupError("a defect")

    monkeypatch.setattr(MemoryTransport, "publish", publish)

    with pytest.raises(LookupError, match="a defect"):
        await app.enqueue_many(task.call(number) for number in range(2 * BATCH))


async def test_what_cannot_be_sent_is_refused_alone(app, task):
    calls = [task.call(0), task.call("1"), task.call(2, "x" * (1 << 20)), task.call(3)]
    calls.append(Chicory("memory://").task(name="other")(work).call(4))

    with pytest.raises(BulkError) as caught:
        await app.enqueue_many(calls)

    error = caught.value
    assert [(one.index, type(one.error)) for one in error.refused] == [
        (1, ValidationError),
        (2, MessageTooLargeError),
        (4, ConfigurationError),
    ]
    assert error.refused[0].call is calls[1]
    assert len(error.enqueued) == await count(app) == 2
    assert str(error).startswith(
        "3 of 5 calls were not enqueued, the others were; the first, number 1 of task work: work: "
        "argument 'number'"
    )


async def test_where_all_are_refused_no_others_are_told_of(app, task):
    with pytest.raises(BulkError, match=r"^1 of 1 calls were not enqueued; the first, number 0 "):
        await app.enqueue_many([task.call("one")])


async def test_what_the_broker_refuses_takes_no_other_with_it(app, task, server):
    server.hated.update({b"\x03bad", b"\x03sad"})
    words = ["good"] * 100
    words[17], words[60] = "bad", "sad"

    answers = [
        one async for one in app.enqueue_many(task.call(n, f"\x03{w}") for n, w in enumerate(words))
    ]

    refused = [one for one in answers if isinstance(one, Refused)]
    assert [(one.index, type(one.error)) for one in refused] == [
        (17, QueueFullError),
        (60, QueueFullError),
    ]
    assert not any(one.duplicate for one in answers if not isinstance(one, Refused))
    assert await count(app) == 98


async def test_a_lost_connection_ends_it_and_tells_what_was_done(app, task, server):
    server.lasts = 1
    calls = (task.call(number) for number in range(9 * BATCH))

    with pytest.raises(BulkError) as caught:
        await app.enqueue_many(calls)

    error = caught.value
    assert isinstance(error.__cause__, BrokerConnectionError)
    assert len(error.enqueued) == BATCH
    taken = next(calls).args[0]  # perhaps those that were put together meanwhile, too
    assert [one.index for one in error.refused] == list(range(BATCH, taken))
    assert taken <= 3 * BATCH
    assert server.batches == [BATCH] * 2


async def test_a_lost_connection_ends_the_iteration(app, task, server):
    server.lasts = 0
    bulk = app.enqueue_many(task.call(number) for number in range(2 * BATCH))

    refused = [await anext(bulk) for _ in range(BATCH)]

    assert all(isinstance(one.error, BrokerConnectionError) for one in refused)
    for _ in range(2):
        with pytest.raises(BrokerConnectionError):
            await anext(bulk)


@pytest.mark.parametrize(
    ("wrong", "kind", "text"),
    [
        (None, ValueError, "the source"),
        (None, BrokerConnectionError, "another broker"),
        ("no call", TypeError, r"str is no call: write task\.call"),
    ],
)
async def test_what_came_before_an_error_of_the_source_is_sent(app, task, wrong, kind, text):
    def calls():
        yield from [task.call(0), task.call(1)]
        if wrong is None:
            raise kind(text)
        yield wrong

    with pytest.raises(kind, match=text) as caught:
        await app.enqueue_many(calls())

    assert caught.value.__notes__ == ["2 calls before that were enqueued"]
    assert await count(app) == 2


async def test_duplicates_are_the_calls_that_live(app, task):
    once = task.options(unique=lambda number: str(number % 2))

    handles = await app.enqueue_many(once.call(number) for number in range(10))

    assert [handle.duplicate for handle in handles] == [False, False] + [True] * 8
    assert len({handle.task_id for handle in handles}) == await count(app) == 2


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_any_number_of_calls_takes_the_memory_of_one_batch(app, task, asynchronous):
    template = app.broker_link.template
    app.broker_link.template = Forgetful(template._settings, template._store)

    def calls(number):
        return (task.call(n, "x" * 1_000) for n in range(number))

    async def awaited(number):
        for call in calls(number):
            yield call

    async def peak(number):
        source = awaited(number) if asynchronous else calls(number)
        tracemalloc.start()
        try:
            async for one in app.enqueue_many(source):
                assert not isinstance(one, Refused)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    await peak(2 * BATCH)  # what is made once
    few, many = await peak(2 * BATCH), await peak(20 * BATCH)

    assert many < 1.5 * few
    assert few < 8 * BATCH * 1_000
