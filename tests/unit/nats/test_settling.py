"""What is left of a call whose worker died after it settled and before it acknowledged."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import nats
import pytest
from anyio import fail_after
from anyio.to_thread import run_sync

from chicory.errors import BrokerConnectionError
from chicory.testing.contract.steps import (
    count,
    dead,
    done,
    give,
    live,
    message,
    record,
    retry,
    take,
)
from chicory.transport import (
    Cancelled,
    Counts,
    Delivery,
    Done,
    Priority,
    Release,
    Retry,
    Settled,
    Settlement,
)
from chicory_nats.settling import Settler

_PATIENCE = 30.0
_SOON = 0.01


@pytest.fixture
def dying(monkeypatch) -> Callable[[], AbstractContextManager[None]]:
    async def die(*_: object) -> None:
        raise BrokerConnectionError("killed")

    @contextmanager
    def dying() -> Iterator[None]:
        with monkeypatch.context() as patch:
            patch.setattr(Settler, "_acknowledge", die)
            with pytest.raises(BrokerConnectionError, match="killed"):
                yield

    return dying


async def _purge(url: str, stream: str) -> None:
    client = await nats.connect(url)
    await client.jetstream().purge_stream(stream)
    await client.close()


def _again(delivery: Delivery) -> Settlement:
    return done(delivery, follow_ups=[message(delivery.task_id, body=b"again")])


def _elsewhere(delivery: Delivery) -> Settlement:
    again = message(delivery.task_id, body=b"again", priority=Priority.HIGH)
    return Retry(delivery.receipt, again, record(delivery.task_id, b"retried"))


@pytest.mark.parametrize(
    "how",
    [
        retry,
        lambda one: retry(one, time.time() + _SOON),
        _again,
        _elsewhere,
    ],
    ids=["retry", "delayed", "follow-up", "elsewhere"],
)
async def test_what_a_message_continues_does_not_outlive_it(connect, dying, how):
    here, there = await connect(), await connect()
    (first,) = await give(here, "1")
    with dying():
        await here.settle([how(first)])

    with fail_after(_PATIENCE):
        (second,) = await there.fetch(["q"], 1, _PATIENCE)
    counted = await count(there)
    await there.settle([done(second)])

    assert second.body == b"again"
    assert counted == Counts(leased=1)
    assert await count(there) == Counts()


async def test_what_a_waiting_message_continues_does_not_outlive_its_cancellation(connect, dying):
    here, there = await connect(), await connect()
    (first,) = await give(here, "1")
    with dying():
        await here.settle([retry(first, time.time() + 1000)])

    assert await there.cancel([record("1", b"cancelled")]) == [Cancelled.REMOVED]

    assert await count(there) == Counts()


@pytest.mark.parametrize("delay", [0.0, 1000.0])
async def test_what_a_waiting_message_continues_does_not_outlive_a_purge(connect, dying, delay):
    here, there = await connect(), await connect()
    (first,) = await give(here, "1")
    with dying():
        await here.settle([retry(first, time.time() + delay)])

    assert await there.purge("q") == 1

    assert await count(there) == Counts()


async def test_a_dead_letter_counts_once_while_its_message_is_still_there(connect, dying):
    here, there = await connect(), await connect()
    (first,) = await give(here, "1")

    with dying():
        await here.settle([dead(first)])

    assert await count(there) == Counts(dead=1)
    assert await take(there) == []


async def test_an_outcome_is_remembered_for_longer_than_a_short_record(connect, dying):
    here, there = await connect(lease=2.0), await connect(lease=2.0)
    (first,) = await give(here, "1")
    with dying():
        await here.settle([Done(first.receipt, record("1", ttl=0.1))])

    with fail_after(_PATIENCE):
        assert await there.fetch(["q"], 1, 4.0) == []

    assert await count(there) == Counts()


@pytest.mark.parametrize(
    "how",
    [
        done,
        retry,
        dead,
        lambda one: Release(one.receipt),
        lambda one: retry(one, time.time() + 1000),
        lambda one: done(one, b"result", [message("next")]),
    ],
    ids=["done", "retry", "dead", "release", "delayed", "follow-up"],
)
async def test_what_is_sent_again_because_its_acknowledgement_was_slow_is_settled(
    connect, dying, how
):
    transport = await connect()
    (first,) = await give(transport, "1")
    settlement = how(first)
    with dying():
        await transport.settle([settlement])

    assert list(await transport.settle([settlement])) == [Settled.SETTLED]
    assert list(await transport.settle([settlement])) == [Settled.FENCED]
    assert live(await count(transport)) <= 1


@pytest.mark.parametrize("how", [done, dead])
async def test_what_was_stored_is_settled_though_its_outcome_is_forgotten_meanwhile(
    connect, dying, server, namespace, how
):
    transport = await connect()
    (first,) = await give(transport, "1")
    settlement = how(first)
    with dying():
        await transport.settle([settlement])
    await run_sync(asyncio.run, _purge(server.url, f"CHICORY_{namespace}"))

    assert list(await transport.settle([settlement])) == [Settled.SETTLED]
    assert list(await transport.settle([settlement])) == [Settled.FENCED]
