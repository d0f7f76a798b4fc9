"""A leader of a stream that has not stored yet what a consumer elsewhere delivers already."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from anyio import fail_after

from chicory.errors import BrokerConnectionError
from chicory.testing.contract.steps import QUEUE, TTL, message, record
from chicory.transport import Done, Lease, Settled
from chicory_nats import leading
from chicory_nats.intents import intent
from chicory_nats.leading import LeaderReader
from chicory_nats.messages import published
from chicory_nats.pull import Level, Raw
from chicory_nats.session import Session
from chicory_nats.space import Space
from chicory_nats.ticket import Ticket
from chicory_nats.wire import Outgoing

_PATIENCE = 30.0
_NOWHERE = b"nowhere"


@pytest.fixture(autouse=True)
def asked(monkeypatch) -> None:
    """The leader is asked, as with replicas."""

    def reader(session: Session) -> LeaderReader:
        return LeaderReader(session.exchange, session.subjects.stream, session.call)

    monkeypatch.setattr(Session, "_reader", reader)


@pytest.fixture
def once_asked(monkeypatch) -> Callable[[Callable[[], Awaitable[object]]], None]:
    """Have something happen when the leader has answered for the first time how far it is."""
    position = LeaderReader._position

    def once_asked(happen: Callable[[], Awaitable[object]]) -> None:
        async def first(reader: LeaderReader) -> object:
            monkeypatch.setattr(LeaderReader, "_position", position)
            found = await position(reader)
            await happen()
            return found

        monkeypatch.setattr(LeaderReader, "_position", first)

    return once_asked


async def _next(space: Space) -> tuple[Raw, Outgoing]:
    """The message that will be stored next, as a consumer delivers it, and as it is stored."""
    session = space.session
    state = (await session.api(f"STREAM.INFO.{session.subjects.stream}"))["state"]
    stored = published(session.subjects, intent(message("1")))
    level = Level(0, QUEUE.encode(), message("1").priority, "consumer")
    block = b"NATS/1.0\r\n%b\r\n" % stored.headers
    return Raw(level, stored.subject, state["last_seq"] + 1, 1, _NOWHERE, block, b""), stored


async def _lease(space: Space, raw: Raw) -> Ticket:
    """A lease of a message that the server delivers for the first time."""
    await space._boot.since()
    held = space.fetcher._claims.accept_certain([raw], 1)
    assert held is not None
    ((_, ticket),) = held
    return ticket


async def _fetch(space: Space, raw: Raw) -> object:
    await space._boot.since()
    again = Raw(raw.level, raw.subject, raw.seq, 2, raw.ack, raw.headers, raw.body)
    return [ticket.task_id for _, ticket in await space.fetcher._claims.accept([again], 1)]


async def _settle(space: Space, raw: Raw) -> object:
    return await space.settler.settle([Done(await _lease(space, raw), record("1", ttl=TTL))])


async def _renew(space: Space, raw: Raw) -> object:
    return await space.leases.renew([await _lease(space, raw)])


@pytest.mark.parametrize(
    ("verb", "answer"),
    [(_fetch, ["1"]), (_settle, [Settled.SETTLED]), (_renew, [Lease.HELD])],
)
async def test_what_the_leader_has_not_stored_yet_is_not_taken_for_gone(
    connect, once_asked, verb, answer
):
    here = await connect()
    await here.publish([message("0")])

    async def deliver_first() -> object:
        space = here._space
        raw, stored = await _next(space)
        once_asked(lambda: space.session.send([stored]))
        return await verb(space, raw)

    with fail_after(_PATIENCE):
        assert await here._bridge.run(deliver_first) == answer


async def test_a_leader_that_never_stores_what_was_delivered_is_an_error_that_says_so(
    connect, monkeypatch
):
    monkeypatch.setattr(leading, "TIMEOUT", 0.0)
    here = await connect()

    async def deliver() -> None:
        raw, _ = await _next(here._space)
        await _fetch(here._space, raw)

    with pytest.raises(
        BrokerConnectionError, match=r"has not stored message \d+, which a consumer"
    ):
        await here._bridge.run(deliver)
