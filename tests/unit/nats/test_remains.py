"""What is stored of a call beside its record goes with it, or soon after it."""

from __future__ import annotations

import asyncio
import json

import anyio
import nats
import pytest
from msgspec.structs import replace

from chicory.testing.contract.steps import Heard, dead, done, give, message, record, retry, take
from chicory.transport import Cancelled, Done, Lease, Record, Release, Retry, Settled
from chicory_nats.subjects import Kind

_TTL = 30.0
_KEPT = 40
"""Seconds, and more than a record of this lifetime and what is soon forgotten."""


class _Patience:
    patience = 60.0


@pytest.fixture
def lifetimes(server, namespace):
    """The kinds of message that the stream holds of a call, and how long it keeps them."""

    async def read(call: str) -> dict[str, int | None]:
        async def ask() -> dict[str, int | None]:
            client = await nats.connect(server.url)
            try:
                stream = f"CHICORY_{namespace}"
                wanted = {"subjects_filter": f"chicory.{namespace}.m.*.*.*.{call}"}
                answer = await client.request(
                    f"$JS.API.STREAM.INFO.{stream}", json.dumps(wanted).encode()
                )
                found: dict[str, int | None] = {}
                for subject in json.loads(answer.data)["state"].get("subjects") or {}:
                    last = json.dumps({"last_by_subj": subject}).encode()
                    stored = await client.request(f"$JS.API.DIRECT.GET.{stream}", last)
                    ttl = (stored.headers or {}).get("Nats-TTL")
                    found[subject.split(".")[3]] = None if ttl is None else int(ttl)
                return found
            finally:
                await client.close()

        return await anyio.to_thread.run_sync(lambda: asyncio.run(ask()))

    return read


def _short(name: str) -> Record:
    return Record(name, b"over", _TTL)


_RECORD = Kind.RECORD.decode()
_END = Kind.END.decode()


async def test_notes_about_a_lease_go_with_it(connect, lifetimes):
    transport = await connect()
    (delivery,) = await give(transport, "1")
    assert await transport.renew([delivery.receipt]) == [Lease.HELD]
    assert await transport.cancel([_short("1")]) == [Cancelled.REQUESTED]

    await transport.settle([Done(delivery.receipt, _short("1"))])

    assert await lifetimes("1") == {_RECORD: int(_TTL)}


async def test_notes_go_although_somebody_else_has_taken_over_the_lease(connect, lifetimes):
    transport = await connect()
    (delivery,) = await give(transport, "1")
    assert await transport.cancel([_short("1")]) == [Cancelled.REQUESTED]
    await transport.settle([Release(delivery.receipt)])
    (again,) = await take(transport)
    assert again.cancel_requested

    await transport.settle([Done(again.receipt, _short("1"))])

    assert await lifetimes("1") == {_RECORD: int(_TTL)}


async def test_a_request_stays_for_as_long_as_the_call_goes_on(connect):
    transport = await connect()
    (delivery,) = await give(transport, "1")
    assert await transport.cancel([_short("1")]) == [Cancelled.REQUESTED]
    await transport.settle([retry(delivery)])

    (again,) = await take(transport)

    assert again.cancel_requested
    assert await transport.renew([again.receipt]) == [Lease.CANCEL_REQUESTED]


@pytest.mark.parametrize("kept", [None, _TTL], ids=["no record", "a record"])
async def test_the_outcome_of_a_dead_letter_is_kept_no_longer_than_others(connect, lifetimes, kept):
    transport = await connect()
    (delivery,) = await give(transport, "1")
    given = _short("1") if kept else None

    answers = await transport.settle([replace(dead(delivery), record=given)])

    assert answers == [Settled.SETTLED]
    found = await lifetimes("1")
    assert list(found) == [_RECORD if kept else _END]
    assert all(ttl is not None and ttl < _KEPT for ttl in found.values())


async def test_a_record_with_follow_ups_is_heard_once_and_kept_no_longer(connect, lifetimes):
    transport = await connect()
    heard = Heard(_Patience())
    await transport.watch(["1", "last"], heard)
    (delivery,) = await give(transport, "1")
    settlement = Done(delivery.receipt, _short("1"), (message("next"),))

    await transport.settle([settlement])
    await transport.store([record("last", b"last")])

    assert await heard.until(2) == [("1", b"over"), ("last", b"last")]
    assert await lifetimes("1") == {_RECORD: int(_TTL)}


async def test_a_retry_keeps_its_interim_record_no_longer(connect, lifetimes):
    transport = await connect()
    (delivery,) = await give(transport, "1")
    again = retry(delivery)

    await transport.settle([Retry(again.receipt, again.publication, _short("1"))])

    assert (await lifetimes("1"))[_RECORD] == int(_TTL)


@pytest.mark.parametrize("delayed", [False, True], ids=["waiting", "delayed"])
async def test_the_record_of_a_cancelled_call_is_kept_no_longer(connect, lifetimes, delayed):
    transport = await connect()
    heard = Heard(_Patience())
    await transport.watch(["1", "last"], heard)
    await transport.publish([message("1", not_before=9e9 if delayed else 0.0)])

    assert await transport.cancel([_short("1")]) == [Cancelled.REMOVED]
    await transport.store([record("last", b"last")])

    assert await heard.until(2) == [("1", b"over"), ("last", b"last")]
    assert await lifetimes("1") == {_RECORD: int(_TTL)}


async def test_what_came_after_an_outcome_is_not_undone(connect):
    transport = await connect()
    (delivery,) = await give(transport, "1")
    follow_up = message("1", body=b"the call once more")

    await transport.settle([done(delivery, b"over", follow_ups=[follow_up])])

    (again,) = await take(transport)
    assert again.body == b"the call once more"


async def test_a_record_that_is_stored_by_itself_is_kept_no_longer(connect, lifetimes):
    transport = await connect()

    await transport.store([_short("1")])

    assert await lifetimes("1") == {_RECORD: int(_TTL)}
