"""Other connections in the way, and cancellation."""

from __future__ import annotations

import math
import sqlite3
from contextlib import closing

import pytest
from anyio import CancelScope, create_task_group
from anyio.lowlevel import checkpoint

from chicory.errors import BrokerConnectionError
from chicory.transport import Done, Publication, Release, Settled, TransportSettings
from chicory_sqlite.address import Address
from chicory_sqlite.session import Session


async def test_a_lock_that_is_never_given_up_is_one_clear_error(make, path):
    async with make("?busy_timeout=0.05") as transport:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")

            with pytest.raises(BrokerConnectionError, match=r"locked for more than 0\.05 s"):
                await transport.publish([Publication("q", "1", b"")])
            assert await transport.fetch(["q"], 1, 0) == ()

        await transport.publish([Publication("q", "1", b"")])
        assert (await transport.counts())["q"].ready == 1


async def test_an_empty_fetch_takes_no_lock_and_writes_nothing(make, path):
    log = path.with_name(path.name + "-wal")
    async with make() as transport:
        await transport.publish([Publication("q", "1", b"")])
        (delivery,) = await transport.fetch(["q"], 1, 0)
        size = log.stat().st_size
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")

            assert await transport.fetch(["q", "unknown"], 10, 0) == ()

        assert log.stat().st_size == size
        assert delivery.task_id == "1"


async def test_a_cancelled_verb_that_has_begun_is_done(make):
    async with make() as transport:
        with CancelScope() as scope:
            async with create_task_group() as group:
                group.start_soon(transport.publish, [Publication("q", "1", b"")])
                await checkpoint()
                await checkpoint()
                scope.cancel()

        assert (await transport.counts(["q"]))["q"].ready == 1


async def test_a_fetch_cancelled_while_it_claims_returns_what_it_claimed(make, path):
    deliveries = []
    async with make() as transport:
        await transport.publish([Publication("q", "1", b"")])
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")

            async def fetch() -> None:
                deliveries.extend(await transport.fetch(["q"], 1, 0))

            async with create_task_group() as group:
                group.start_soon(fetch)
                await checkpoint()
                await checkpoint()
                group.cancel_scope.cancel()
                other.execute("ROLLBACK")

    assert [each.task_id for each in deliveries] == ["1"]


async def test_a_cancelled_wait_has_leased_nothing(make):
    async with make() as transport:
        async with create_task_group() as group:
            group.start_soon(transport.fetch, ["q"], 1, math.inf)
            await transport.ping()
            group.cancel_scope.cancel()

        await transport.publish([Publication("q", "1", b"")])
        assert (await transport.counts())["q"].ready == 1


def test_a_transaction_that_may_write_holds_the_lock_from_its_start(path):
    session = Session(Address(path), TransportSettings(url=f"sqlite:///{path}"))
    with closing(session), closing(sqlite3.connect(path, timeout=0)) as other:
        session.begin()

        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")

        session.rollback()


async def test_a_verb_cancelled_before_it_began_does_nothing(make):
    async with make() as transport:
        with CancelScope() as scope:
            scope.cancel()
            await transport.publish([Publication("q", "1", b"")])

        assert (await transport.counts(["q"]))["q"].ready == 0


async def test_a_receipt_is_void_once_released_although_the_delivery_is_not_counted(make):
    async with make() as transport:
        await transport.publish([Publication("q", "1", b"")])
        (first,) = await transport.fetch(["q"], 1, 0)
        await transport.settle([Release(first.receipt)])
        assert await transport.settle([Done(first.receipt)]) == [Settled.FENCED]
        (second,) = await transport.fetch(["q"], 1, 0)

        assert second.deliveries == first.deliveries == 1
        assert await transport.settle([Done(first.receipt)]) == [Settled.FENCED]
