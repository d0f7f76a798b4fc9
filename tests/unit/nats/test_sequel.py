"""What follows an outcome is stored by whoever comes upon it, where its worker died in between."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

import pytest
from anyio import fail_after
from msgspec.structs import replace

from chicory.errors import BrokerConnectionError, QueueFullError
from chicory.testing.contract.steps import (
    Heard,
    count,
    dead,
    done,
    give,
    ids,
    message,
    record,
    retry,
    take,
)
from chicory.transport import (
    Accepted,
    Cancelled,
    Counts,
    Dead,
    Delivery,
    Duplicate,
    Retry,
    Settled,
    Settlement,
    Stage,
    Standing,
)
from chicory_nats import NatsTransport, sequel, steps
from chicory_nats.session import Session
from chicory_nats.settling import Settler
from chicory_nats.wire import Outgoing, Request, messages

PATIENCE = 60.0
FAR = 9e9
ROOM = 1 << 20


class _Patient:
    patience = PATIENCE


def again(delivery: Delivery, not_before: float = 0.0, body: bytes = b"again") -> Settlement:
    continued = retry(delivery, not_before, body)
    return Retry(continued.receipt, continued.publication, record(delivery.task_id, b"retried"))


def buried(delivery: Delivery) -> Settlement:
    given_up = dead(delivery)
    return Dead(given_up.receipt, given_up.letter, record(delivery.task_id, b"dead"))


def buried_untold(delivery: Delivery) -> Settlement:
    return dead(delivery)


def _dying(monkeypatch: pytest.MonkeyPatch, step: str) -> AbstractContextManager[None]:
    async def die(*_: object) -> None:
        raise BrokerConnectionError("killed")

    @contextmanager
    def dying() -> Iterator[None]:
        with monkeypatch.context() as patch:
            patch.setattr(Settler, step, die)
            with pytest.raises(BrokerConnectionError, match="killed"):
                yield

    return dying()


@pytest.fixture
def between(monkeypatch) -> Callable[[], AbstractContextManager[None]]:
    """Who settles dies when the outcome is stored, and nothing else."""
    return lambda: _dying(monkeypatch, "_follow")


@pytest.fixture
def before_the_end(monkeypatch) -> Callable[[], AbstractContextManager[None]]:
    """Who settles dies when all is stored and nothing acknowledged."""
    return lambda: _dying(monkeypatch, "_acknowledge")


@pytest.fixture
def no_batches(monkeypatch) -> None:
    def refuse(_: object) -> None:
        raise AssertionError("an atomic batch")

    monkeypatch.setattr(steps, "Batch", refuse)


@pytest.mark.usefixtures("no_batches")
@pytest.mark.parametrize("how", [again, buried, buried_untold])
async def test_no_atomic_batch_is_needed(connect, how):
    transport = await connect()
    deliveries = await give(transport, "1", "2", "3")

    answers = await transport.settle([how(one) for one in deliveries])

    assert answers == [Settled.SETTLED] * 3
    found = await transport.dead_letters()
    assert sorted(ids([*found, *await take(transport)])) == ["1", "2", "3"]


@pytest.mark.usefixtures("no_batches")
@pytest.mark.parametrize("how", [buried, buried_untold])
async def test_a_letter_needs_none_however_large_it_is(connect, between, how):
    here, there = await connect(), await connect()
    large = bytes(range(250)) * 1000
    await here.publish([message("1", body=large)])
    (delivery,) = await take(here)
    with between():
        await here.settle([how(delivery)])

    await there.look_up(["1"])

    (letter,) = await there.dead_letters()
    assert letter.body == large


async def test_what_is_too_large_to_be_written_twice_is_stored_all_the_same(connect):
    transport = await connect()
    (delivery,) = await give(transport, "1")

    assert await transport.settle([again(delivery, body=bytes(100_000))]) == [Settled.SETTLED]

    (continued,) = await take(transport)
    assert continued.body == bytes(100_000)
    assert await transport.look_up(["1"]) == [Standing(Stage.RUNNING, b"retried")]


@pytest.mark.parametrize(("how", "body"), [(again, b"retried"), (buried, b"dead")])
async def test_a_record_is_read_and_heard_without_what_follows_it(connect, how, body):
    transport = await connect()
    heard, late = Heard(_Patient()), Heard(_Patient())
    await transport.watch(["1"], heard)
    (delivery,) = await give(transport, "1")

    await transport.settle([how(delivery)])

    assert await heard.until(1) == [("1", body)]
    assert (await transport.look_up(["1"]))[0].record == body
    await transport.watch(["1"], late)
    assert await late.until(1) == [("1", body)]


@pytest.mark.parametrize("not_before", [0.0, FAR], ids=["retry", "delayed"])
async def test_a_call_that_is_looked_up_is_retried(connect, between, not_before):
    here, there = await connect(), await connect()
    (delivery,) = await give(here, "1")
    with between():
        await here.settle([again(delivery, not_before)])

    (standing,) = await there.look_up(["1"])

    assert standing.record == b"retried"
    assert (await count(there)).delayed == bool(not_before)
    assert [one.body for one in await take(there)] == ([] if not_before else [b"again"])


@pytest.mark.parametrize("how", [buried, buried_untold])
async def test_a_call_that_is_looked_up_has_its_letter(connect, between, how):
    here, there = await connect(), await connect()
    (delivery,) = await give(here, "1")
    with between():
        await here.settle([how(delivery)])

    await there.look_up(["1"])
    await there.look_up(["1"])

    assert ids(await there.dead_letters()) == ["1"]
    assert await count(there) == Counts(dead=1)


@pytest.mark.parametrize(("how", "left"), [(again, Counts(leased=1)), (buried, Counts(dead=1))])
async def test_who_is_delivered_the_message_goes_on_from_there(connect, between, how, left):
    here, there = await connect(lease=1.0), await connect(lease=1.0)
    (delivery,) = await give(here, "1")
    with between():
        await here.settle([how(delivery)])

    found: list[Delivery] = []
    with fail_after(PATIENCE):
        while not found and not await there.dead_letters():
            found += await there.fetch(["q"], 1, 1.0)

    assert [one.body for one in found] == [b"again"][: left.leased]
    assert await count(there) == left


async def test_a_call_that_is_about_to_be_retried_is_live(connect, between):
    here, there = await connect(), await connect()
    (delivery,) = await give(here, "1")
    with between():
        await here.settle([again(delivery)])

    assert await there.publish([message("1")]) == [Duplicate("1")]
    assert [one.body for one in await take(there)] == [b"again"]


async def test_a_call_that_is_about_to_be_retried_holds_its_key(connect, between):
    here, there = await connect(), await connect()
    await here.publish([message("1", unique="key")])
    (delivery,) = await take(here)
    with between():
        await here.settle([again(delivery)])

    assert await there.publish([message("2", unique="key")]) == [Duplicate("1")]


async def test_a_call_that_is_about_to_be_retried_is_cancelled(connect, between):
    here, there = await connect(), await connect()
    (delivery,) = await give(here, "1")
    with between():
        await here.settle([again(delivery, FAR)])

    assert await there.cancel([record("1", b"cancelled")]) == [Cancelled.REMOVED]

    assert await count(there) == Counts()
    assert await there.look_up(["1"]) == [Standing(Stage.RECORDED, b"cancelled")]


async def test_a_record_that_is_stored_by_hand_takes_nothing_with_it(connect, between):
    here, there = await connect(), await connect()
    (delivery,) = await give(here, "1")
    with between():
        await here.settle([buried(delivery)])

    await there.store([record("1", b"by hand")])

    assert ids(await there.dead_letters()) == ["1"]
    assert (await there.look_up(["1"]))[0].record == b"by hand"


async def test_the_call_may_be_sent_once_more_when_it_is_dead(connect, between):
    here, there = await connect(), await connect()
    (delivery,) = await give(here, "1")
    with between():
        await here.settle([buried(delivery)])

    assert await there.publish([message("1", body=b"anew")]) == [Accepted()]

    assert ids(await there.dead_letters()) == ["1"]
    assert [one.body for one in await take(there)] == [b"anew"]


@pytest.mark.parametrize("how", [again, buried])
async def test_what_is_settled_again_is_settled_once(connect, between, how):
    transport = await connect()
    (delivery,) = await give(transport, "1")
    settlement = how(delivery)
    with between():
        await transport.settle([settlement])

    assert list(await transport.settle([settlement])) == [Settled.SETTLED]
    assert list(await transport.settle([settlement])) == [Settled.FENCED]
    assert len([*await transport.dead_letters(), *await take(transport)]) == 1


async def _discarded(transport: NatsTransport, letter_id: str) -> None:
    assert await transport.discard([letter_id]) == [True]


async def _purged(transport: NatsTransport, _: str) -> None:
    assert await transport.purge("q", dead=True) == 1


async def _replayed(transport: NatsTransport, letter_id: str) -> None:
    await _replayed_as("1", transport, letter_id)


async def _replayed_as_another_call(transport: NatsTransport, letter_id: str) -> None:
    await _replayed_as("2", transport, letter_id)


async def _replayed_as(call: str, transport: NatsTransport, letter_id: str) -> None:
    again = message(call, body=b"replayed")
    assert await transport.replay([(letter_id, again)]) == [True]
    (replayed,) = await take(transport)
    assert replayed.body == b"replayed"
    await transport.settle([done(replayed)])


@pytest.mark.parametrize("how", [buried, buried_untold])
@pytest.mark.parametrize(
    "remove",
    [_discarded, _purged, _replayed, _replayed_as_another_call],
    ids=lambda it: it.__name__,
)
async def test_a_letter_that_is_gone_does_not_come_back(connect, before_the_end, how, remove):
    here, there = await connect(), await connect()
    (delivery,) = await give(here, "1")
    with before_the_end():
        await here.settle([how(delivery)])
    (letter,) = await there.dead_letters()

    await remove(there, letter.id)

    assert await count(there) == Counts()
    await there.look_up(["1"])
    assert await there.dead_letters() == []


async def _settle_slowly(
    transport: NatsTransport, settlement: Settlement, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], Awaitable[None]]:
    """Have an outcome stored, and nothing else; what stores what follows it."""
    follow, begun = Settler._follow, []

    async def stand_still(_: object, what: object) -> None:
        begun.append(what)

    with monkeypatch.context() as patch:
        patch.setattr(Settler, "_follow", stand_still)
        patch.setattr(Settler, "_acknowledge", stand_still)
        patch.setattr(Session, "shorten", stand_still)
        await transport.settle([settlement])
    return lambda: transport._bridge.run(follow, transport._space.settler, begun[0])


@pytest.mark.parametrize("how", [buried, buried_untold])
@pytest.mark.parametrize(
    "remove", [_discarded, _replayed, _replayed_as_another_call], ids=lambda it: it.__name__
)
async def test_a_letter_that_is_gone_is_not_brought_back_by_who_is_slow(
    connect, monkeypatch, how, remove
):
    here, there = await connect(), await connect()
    (delivery,) = await give(here, "1")
    follow = await _settle_slowly(here, how(delivery), monkeypatch)
    await there.look_up(["1"])
    (letter,) = await there.dead_letters()

    await remove(there, letter.id)
    await follow()

    assert await there.dead_letters() == []


async def test_a_call_is_not_retried_once_more_by_who_is_slow(connect, monkeypatch):
    here, there = await connect(), await connect()
    (delivery,) = await give(here, "1")
    follow = await _settle_slowly(here, again(delivery), monkeypatch)
    await there.look_up(["1"])
    assert ids(await take(there)) == ["1"]

    await follow()

    assert await take(there) == []


@pytest.fixture
def full(monkeypatch) -> Callable[[bytes], None]:
    """A server has no room for messages with some bytes in their subjects, until it is purged."""
    send, purge = Session.send, Session.purge
    refused: set[bytes] = set()

    async def send_or_refuse(session: Session, requests: Sequence[Request]) -> Sequence[int]:
        sent = [one.subject for request in requests for one in messages(request)]
        if any(part in subject for part in refused for subject in sent):
            raise QueueFullError("no room")
        return await send(session, requests)

    async def purge_and_have_room(session: Session, subjects: bytes) -> int:
        refused.clear()
        return await purge(session, subjects)

    monkeypatch.setattr(Session, "send", send_or_refuse)
    monkeypatch.setattr(Session, "purge", purge_and_have_room)
    return refused.add


async def test_a_letter_is_stored_in_the_place_of_the_ballast(connect, full):
    transport = await connect()
    (delivery,) = await give(transport, "1")
    full(b".m.d.")

    assert await transport.settle([buried(delivery)]) == [Settled.SETTLED]

    assert ids(await transport.dead_letters()) == ["1"]


async def test_who_reads_stores_a_letter_in_the_place_of_the_ballast(connect, between, full):
    here, there = await connect(), await connect()
    (delivery,) = await give(here, "1")
    with between():
        await here.settle([buried(delivery)])
    full(b".m.d.")

    await there.look_up(["1"])

    assert ids(await there.dead_letters()) == ["1"]


async def test_where_no_room_is_left_a_letter_can_be_discarded(connect, full):
    transport = await connect()
    (delivery,) = await give(transport, "1")
    await transport.settle([buried(delivery)])
    (letter,) = await transport.dead_letters()
    full(b".m.v.")

    assert await transport.discard([letter.id]) == [True]


async def test_a_record_with_no_room_for_what_follows_it_is_stored_all_the_same(connect):
    transport = await connect()
    (delivery,) = await give(transport, "1")
    continued = retry(delivery, body=bytes(10_000))
    large = record("1", bytes((1 << 20) - 5_000))

    settled = await transport.settle([Retry(continued.receipt, continued.publication, large)])

    assert settled == [Settled.SETTLED]
    (retried,) = await take(transport)
    assert retried.body == bytes(10_000)


@pytest.mark.parametrize("how", [done, retry, again, buried])
async def test_follow_ups_are_stored_in_one_step_with_the_outcome(connect, monkeypatch, how):
    async def refuse(*_: object) -> None:
        raise AssertionError("a second step")

    monkeypatch.setattr(Settler, "_follow", refuse)
    transport = await connect()
    (delivery,) = await give(transport, "1")
    settlement = replace(how(delivery), follow_ups=(message("next"),))

    assert await transport.settle([settlement]) == [Settled.SETTLED]

    found = [*await transport.dead_letters(), *await take(transport)]
    assert sorted(ids(found)) == (["next"] if how is done else ["1", "next"])


@pytest.mark.parametrize(
    ("leased", "body"),
    [
        (b"", b""),
        (b"", b"\x00\xff"),
        (b"same", b"same"),
        (b"body", b"about it\nbody"),
        (b"first, second", b"first, 2nd"),
        (b"aaa", b"aa"),
        (b"aa", b"aaaaa"),
        (b"abcabc", b"abc"),
        (b"nothing", b"1234"),
    ],
)
def test_an_outcome_and_what_follows_it_are_read_as_they_were_written(leased, body):
    outcome = Outgoing(b"outcome", b"A: 1\r\n", b"body")
    message = Outgoing(b"message", b"B: 2\r\n", body)

    whole = sequel.attach(outcome, message, leased, ROOM)

    assert whole is not None
    headers = {b"Chicory-Sequel": whole.headers.split(b": ")[-1].strip()}
    assert sequel.before(headers, whole.body) == b"body"
    assert sequel.after(headers, whole.body, leased) == message
    assert sequel.before({}, b"body") == b"body"
    assert sequel.after({}, b"body", leased) is None


@pytest.mark.parametrize(
    ("size", "room", "fits"),
    [(16_000, math.inf, True), (17_000, math.inf, False), (16_000, 16_000, False)],
)
def test_what_is_too_large_is_not_written_twice(size, room, fits):
    message = Outgoing(b"message", b"", bytes(size))

    assert (sequel.attach(Outgoing(b"outcome"), message, b"", room) is not None) is fits


def test_what_the_leased_message_says_is_not_written_twice():
    leased = bytes(range(256)) * 1000
    letter = Outgoing(b"letter", b"", b"about it\n" + leased)

    assert sequel.attach(Outgoing(b"outcome"), letter, leased, 512) is not None
