"""A unique key whose holder dies, or is slow, between taking it and storing its message."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence

import pytest
from anyio import fail_after

from chicory.errors import BrokerConnectionError
from chicory.testing.contract.steps import done, give, ids, message, take
from chicory.transport import Accepted, Duplicate, PublishOutcome
from chicory_nats import NatsTransport
from chicory_nats.intents import Intent
from chicory_nats.keys import Keys
from chicory_nats.leading import LeaderReader
from chicory_nats.session import Session
from chicory_nats.thread import Thread
from chicory_nats.threads import Threads

_KEY = "key"
_PATIENCE = 30.0


@pytest.fixture(params=["any server", "the leader"], autouse=True)
def asked(request, monkeypatch) -> None:
    """Who is asked for what is stored: with replicas it is the leader, one kind after the other."""

    def reader(session: Session) -> LeaderReader:
        return LeaderReader(session.exchange, session.subjects.stream, session.call)

    if request.param == "the leader":
        monkeypatch.setattr(Session, "_reader", reader)


@pytest.fixture
def after_taking(monkeypatch) -> Callable[[Callable[[], Awaitable[object]]], None]:
    """Have something happen once a key is taken for the first time."""
    take = Keys.take

    def after(happen: Callable[[], Awaitable[object]]) -> None:
        async def take_first(keys: Keys, intents: Sequence[Intent]) -> Sequence[bool]:
            monkeypatch.setattr(Keys, "take", take)
            taken = await take(keys, intents)
            await happen()
            return taken

        monkeypatch.setattr(Keys, "take", take_first)

    return after


async def _die() -> None:
    raise BrokerConnectionError("killed")


async def _publish(transport: NatsTransport, task_id: str) -> PublishOutcome:
    with fail_after(_PATIENCE):
        (outcome,) = await transport.publish([message(task_id, unique=_KEY)])
        return outcome


@pytest.mark.parametrize("next_id", ["1", "2"])
async def test_a_key_whose_holder_died_before_its_message_was_stored_is_free(
    connect, after_taking, next_id
):
    here, there = await connect(), await connect()
    after_taking(_die)
    with pytest.raises(BrokerConnectionError, match="killed"):
        await _publish(here, "1")

    assert await _publish(there, next_id) == Accepted()
    assert await _publish(here, "3") == Duplicate(next_id)
    assert ids(await take(here)) == [next_id]


async def test_who_is_slow_to_store_a_message_has_lost_its_key_to_who_came_after(
    connect, after_taking
):
    here = await connect()
    overtaking: list[PublishOutcome] = []

    async def overtake() -> None:
        publisher = here._space.publisher
        overtaking.extend(await publisher.publish([message("2", unique=_KEY)]))

    after_taking(overtake)

    assert await _publish(here, "1") == Duplicate("2")
    assert overtaking == [Accepted()]
    assert ids(await take(here)) == ["2"]


async def test_a_holder_that_was_read_while_it_was_continued_keeps_its_key(connect, monkeypatch):
    here = await connect()
    assert await _publish(here, "1") == Accepted()
    look = Threads.look

    async def look_once(threads: Threads, calls: Iterable[bytes]) -> dict[bytes, Thread]:
        found = await look(threads, calls)
        if b"1" in found:  # its outcome was seen, and not what continues it
            monkeypatch.setattr(Threads, "look", look)
            ended = frozenset({found[b"1"].call})
            found[b"1"] = Thread(ended=ended, top=found[b"1"].top - 1)
        return found

    if isinstance(here._space.session.reader, LeaderReader):  # the other one reads all at once
        monkeypatch.setattr(Threads, "look", look_once)

    assert await _publish(here, "2") == Duplicate("1")


async def test_a_call_that_lost_its_key_gets_it_once_it_is_free(connect, after_taking):
    here, there = await connect(), await connect()
    after_taking(_die)
    with pytest.raises(BrokerConnectionError, match="killed"):
        await _publish(here, "1")
    assert await _publish(there, "2") == Accepted()
    await there.settle([done(one) for one in await take(there)])

    assert await _publish(here, "1") == Accepted()
    assert ids(await take(here)) == ["1"]


async def test_a_follow_up_gets_a_key_whose_holder_died_before_its_message_was_stored(
    connect, after_taking
):
    here = await connect()
    (delivery,) = await give(here, "0")
    after_taking(_die)
    with pytest.raises(BrokerConnectionError, match="killed"):
        await _publish(here, "1")

    await here.settle([done(delivery, follow_ups=[message("2", unique=_KEY)])])

    assert await _publish(here, "3") == Duplicate("2")
    assert ids(await take(here)) == ["2"]


async def test_a_key_that_cannot_be_freed_is_not_tried_for_without_end(
    connect, after_taking, monkeypatch
):
    here = await connect()
    after_taking(_die)
    with pytest.raises(BrokerConnectionError, match="killed"):
        await _publish(here, "1")

    async def free(*_: object) -> bool:
        return False

    monkeypatch.setattr(Keys, "free", free)

    with pytest.raises(BrokerConnectionError, match="call 2 was not enqueued"):
        await _publish(here, "2")
