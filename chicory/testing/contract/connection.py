"""Connections come and go; namespaces are worlds of their own."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeAlias

import pytest
from anyio import create_task_group, fail_after

from chicory.errors import BrokerConnectionError
from chicory.testing.contract.harness import Harness
from chicory.testing.contract.steps import (
    QUEUE,
    Heard,
    body_of,
    count,
    dead,
    done,
    give,
    ids,
    live,
    message,
    record,
    retry,
    take,
    until_idle,
)
from chicory.testing.faults.proxy import Proxy
from chicory.transport import (
    Accepted,
    Cancelled,
    Counts,
    Delivery,
    Lease,
    PublishOutcome,
    Release,
    Settled,
    Stage,
    Transport,
    WorkerRecord,
)

_End: TypeAlias = Callable[[Transport, Delivery], Awaitable[object]]


async def _record(there: Transport, delivery: Delivery) -> None:
    await there.settle([done(delivery, b"result")])


async def _forget(there: Transport, delivery: Delivery) -> None:
    await there.settle([done(delivery, b"result")])
    await there.store([record(delivery.task_id, None)])


async def _write_over(there: Transport, delivery: Delivery) -> None:
    await there.settle([done(delivery)])
    await there.store([record(delivery.task_id, b"1"), record(delivery.task_id, b"2")])


async def _end(there: Transport, delivery: Delivery) -> None:
    await there.settle([done(delivery)])


async def _bury(there: Transport, delivery: Delivery) -> None:
    await there.settle([dead(delivery)])


async def _go_on(there: Transport, delivery: Delivery) -> None:
    await there.settle([retry(delivery)])
    (again,) = await there.fetch([QUEUE], 1, math.inf)
    await there.settle([done(again, b"result")])


async def _cancel(there: Transport, delivery: Delivery) -> None:
    await there.settle([Release(delivery.receipt)])
    assert list(await there.cancel([record(delivery.task_id)])) == [Cancelled.REMOVED]


_ENDS = [_record, _forget, _write_over, _end, _bury, _go_on, _cancel]


class ConnectionContract:
    """``open``, ``close``, ``ping``, ``clone`` and ``namespace``."""

    async def test_an_open_transport_answers_a_ping(self, harness: Harness) -> None:
        transport = await harness.connect()

        with fail_after(harness.patience):
            await transport.ping()

    async def test_opening_and_closing_twice_is_harmless(self, harness: Harness) -> None:
        transport = harness.make(harness.settings())
        await transport.open()
        await transport.open()
        await transport.publish([message("1")])

        await transport.close()
        await transport.close()

        assert ids(await take(await harness.connect())) == ["1"]

    async def test_opening_another_connection_disturbs_nothing(self, harness: Harness) -> None:
        here = await harness.connect()
        (delivery,) = await give(here, "1")
        await here.publish([message("2")])

        there = await harness.connect()

        assert await count(there) == Counts(ready=1, leased=1)
        assert list(await here.renew([delivery.receipt])) == [Lease.HELD]

    async def test_every_verb_fails_after_close(self, harness: Harness) -> None:
        transport = await harness.connect()
        (delivery,) = await give(transport, "1")
        await transport.close()

        for verb in _verbs(transport, delivery):
            with fail_after(harness.patience), pytest.raises(BrokerConnectionError):
                await verb()

        transport.unwatch(["1"])
        there = await harness.connect()
        assert list(await there.settle([done(delivery)])) == [Settled.SETTLED]

    async def test_a_waiting_fetch_ends_with_an_error_when_closed(self, harness: Harness) -> None:
        transport = await harness.connect()
        ended: list[bool] = []

        async def fetch() -> None:
            with fail_after(harness.patience), suppress(BrokerConnectionError):
                await transport.fetch([QUEUE], 1, math.inf)
                return
            ended.append(True)

        async with create_task_group() as group:
            group.start_soon(fetch)
            await until_idle()
            await transport.close()

        assert ended == [True]

    @pytest.mark.parametrize("unique", [None, "key"])
    @pytest.mark.parametrize("end", _ENDS)
    async def test_a_publication_sent_again_is_stored_once_though_its_call_has_ended_since(
        self, harness: Harness, end: _End, unique: str | None
    ) -> None:
        if harness.port is None:
            return
        outcomes: list[PublishOutcome] = []
        there = await harness.connect()

        async def publish(here: Transport) -> None:
            try:
                outcomes.extend(await here.publish([message("1", unique=unique)]))
            except BrokerConnectionError:  # it is not sent again, which is as good
                outcomes.append(Accepted())

        with Proxy(harness.port) as line, fail_after(harness.patience):
            async with harness.make(harness.settings(port=line.port)) as here:
                (before,) = await give(here, "0")
                await here.settle([done(before)])
                # from the request on that stores the message: it may be the second of two
                line.listen(lambda request: body_of("1") in request and line.mute())
                async with create_task_group() as group:
                    group.start_soon(publish, here)
                    (delivery,) = await there.fetch([QUEUE], 1, math.inf)
                    await end(there, delivery)
                    line.listen(lambda _: None)
                    line.cut()
                    line.thaw()

        assert outcomes == [Accepted()]
        assert await take(there) == []
        assert live(await count(there)) == 0

    async def test_a_clone_is_a_connection_of_its_own(self, harness: Harness) -> None:
        here = await harness.connect()
        async with here.clone() as clone:
            await here.publish([message("1")])
            (delivery,) = await take(clone)

        assert list(await here.renew([delivery.receipt])) == [Lease.HELD]
        async with here.clone().clone() as clone:
            assert list(await clone.settle([done(delivery)])) == [Settled.SETTLED]

    async def test_a_clone_of_a_closed_transport_can_be_opened(self, harness: Harness) -> None:
        here = await harness.connect()
        await here.publish([message("1")])
        await here.close()

        async with here.clone() as clone:
            assert ids(await take(clone)) == ["1"]

    async def test_messages_stay_in_their_namespace(self, harness: Harness) -> None:
        ours, theirs = await harness.connect("a"), await harness.connect("b")
        await ours.publish([message("1", unique="key")])

        assert await take(theirs) == []
        assert dict(await theirs.counts()) == {}
        assert await theirs.purge(QUEUE) == 0
        assert list(await theirs.cancel([record("1")])) == [Cancelled.ABSENT]
        assert list(await theirs.publish([message("1", unique="key")])) == [Accepted()]

        assert ids(await take(ours)) == ids(await take(theirs)) == ["1"]

    async def test_leases_records_letters_pauses_and_workers_stay_in_their_namespace(
        self, harness: Harness
    ) -> None:
        ours, theirs = await harness.connect("a"), await harness.connect("b")
        heard = Heard(harness)
        one, two = await give(ours, "1", "2")
        await theirs.watch(["1"], heard)

        await ours.settle([done(one, b"result"), dead(two)])
        await ours.beat(WorkerRecord("w", (QUEUE,), b""), harness.lease)
        await ours.set_paused(QUEUE, paused=True)

        assert (await theirs.look_up(["1"]))[0].stage is Stage.WAITING
        assert list(await theirs.dead_letters()) == []
        assert list(await theirs.find_dead(["letter 2"])) == [None]
        assert list(await theirs.discard(["letter 2"])) == [False]
        assert list(await theirs.workers()) == []
        assert ids(await give(theirs, "1")) == ["1"]
        await theirs.store([record("1", b"theirs")])
        await heard.until_hearing("1", b"theirs")
        assert heard.records == [("1", b"theirs")]
        assert (await ours.look_up(["1"]))[0].record == b"result"


def _verbs(transport: Transport, delivery: Delivery) -> list[Callable[[], Awaitable[object]]]:
    worker = WorkerRecord("w", (), b"")
    return [
        transport.ping,
        lambda: transport.publish([message("2")]),
        lambda: transport.fetch([QUEUE], 1, 0),
        lambda: transport.fetch([QUEUE], 1, math.inf),
        lambda: transport.renew([delivery.receipt]),
        lambda: transport.settle([done(delivery)]),
        lambda: transport.cancel([record("1")]),
        lambda: transport.look_up(["1"]),
        lambda: transport.store([record("1")]),
        lambda: transport.watch(["1"], lambda _id, _body: None),
        transport.dead_letters,
        lambda: transport.find_dead(["1"]),
        lambda: transport.replay([("1", message("1"))]),
        lambda: transport.discard(["1"]),
        lambda: transport.purge(QUEUE),
        transport.counts,
        lambda: transport.set_paused(QUEUE, paused=True),
        lambda: transport.beat(worker, 1),
        transport.workers,
    ]
