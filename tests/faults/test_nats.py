"""NATS, when the server or the network fails while it is in use."""

from __future__ import annotations

import logging
import math
import threading
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from anyio import Event, create_task_group, fail_after
from anyio.lowlevel import checkpoint
from anyio.to_thread import run_sync
from msgspec.structs import replace
from servers.nats import NatsServer
from servers.proxy import Proxy

import chicory_nats.boot
import chicory_nats.connection
import chicory_nats.exchange
import chicory_nats.pull
import chicory_nats.reading
import chicory_nats.session
import chicory_nats.settling
from chicory import Chicory, ChicoryConfig, Worker, WorkerConfig
from chicory.errors import BrokerConnectionError, MessageTooLargeError, QueueFullError
from chicory.testing.contract.steps import (
    Heard,
    body_of,
    count,
    dead,
    done,
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
    Delivery,
    Duplicate,
    Lease,
    Retry,
    Settled,
    Settlement,
    Transport,
    TransportSettings,
    WorkerRecord,
)
from chicory_nats import NatsTransport
from chicory_nats.ear import Ear

pytestmark = pytest.mark.faults

_PATIENCE = 60.0
_LEASE = 2.0


@pytest.fixture
def server(tmp_path) -> Iterator[NatsServer]:
    with NatsServer(tmp_path / "nats") as server:
        yield server


@pytest.fixture
def proxy(server) -> Iterator[Proxy]:
    with Proxy(server.port) as proxy:
        yield proxy


@pytest.fixture
async def connect() -> AsyncIterator[Callable[[int], Awaitable[Transport]]]:
    namespace = uuid4().hex
    async with AsyncExitStack() as stack:

        async def connect(port: int) -> Transport:
            settings = TransportSettings(
                url=f"nats://127.0.0.1:{port}", namespace=namespace, lease=_LEASE
            )
            return await stack.enter_async_context(NatsTransport(settings))

        yield connect


async def _insist(verb: Callable[[], Awaitable[Any]]) -> Any:
    """What a caller does whose call was not answered: the same again."""
    while True:
        try:
            return await verb()
        except BrokerConnectionError:
            await checkpoint()


class _Run:
    """A producer and workers, some of them careless, until all calls are recorded."""

    def __init__(self, producer: Transport, names: list[str]) -> None:
        self._producer = producer
        self._names = names
        self._progress = Event()
        self.outcomes: Counter[str] = Counter()
        self.fetched: Counter[str] = Counter()

    async def produce(self) -> None:
        for start in range(0, len(self._names), 20):
            batch = [message(name) for name in self._names[start : start + 20]]
            await _insist(lambda batch=batch: self._producer.publish(batch))

    async def work(self, transport: Transport, careless: bool) -> None:
        while True:
            found = await _insist(lambda: transport.fetch(["q"], 5, math.inf))
            self.fetched.update(ids(found))
            if careless and self.fetched.total() % 7 == 0:
                continue  # as if the worker died: nobody settles these
            await self._settle(transport, found)
            self._progress.set()
            self._progress = Event()

    async def _settle(self, transport: Transport, found: list[Delivery]) -> None:
        settlements = [done(one, one.task_id.encode()) for one in found]
        answers = await _insist(lambda: transport.settle(settlements))
        pairs = zip(found, answers, strict=True)
        self.outcomes.update(one.task_id for one, answer in pairs if answer is Settled.SETTLED)

    async def until(self, settled: int) -> None:
        while self.outcomes.total() < settled:
            await self._progress.wait()

    async def until_over(self) -> None:
        progress = self._progress
        while await self._recorded() < len(self._names):
            await progress.wait()
            progress = self._progress

    async def _recorded(self) -> int:
        standings = await _insist(lambda: self._producer.look_up(self._names))
        return sum(standing.record is not None for standing in standings)


async def test_a_server_killed_in_the_middle_of_a_run_loses_nothing_and_settles_each_call_once(
    server, connect
):
    producer = await connect(server.port)
    workers = [await connect(server.port) for _ in range(3)]
    names = [str(number) for number in range(600)]
    run = _Run(producer, names)

    with fail_after(_PATIENCE):
        async with create_task_group() as group:
            group.start_soon(run.produce)
            for number, transport in enumerate(workers):
                group.start_soon(run.work, transport, number == 0)
            for goal in (100, 250, 400):
                await run.until(goal)
                server.kill()
                await run_sync(server.start)
            await run.until_over()
            group.cancel_scope.cancel()

    standings = await producer.look_up(names)
    assert [standing.record for standing in standings] == [name.encode() for name in names]
    assert max(run.outcomes.values()) == 1
    assert set(run.fetched) == set(names)
    assert await count(producer) == Counts()


async def test_an_app_and_its_worker_go_on_where_they_were_when_the_server_is_back(server):
    app = Chicory(server.url, config=ChicoryConfig(namespace=uuid4().hex, lease=_LEASE))
    ran: Counter[int] = Counter()
    progress = Event()

    @app.task(name="step")
    async def step(number: int) -> int:
        nonlocal progress
        ran[number] += 1
        progress.set()
        progress = Event()
        return number * 2

    async def send(number: int) -> object:
        return await _insist(lambda: step.delay(number))

    with fail_after(_PATIENCE):
        async with app, Worker(app, config=WorkerConfig(concurrency=8)):
            results = {}

            async def produce() -> None:
                for number in range(300):
                    results[number] = await send(number)

            async with create_task_group() as group:
                group.start_soon(produce)
                for goal in (50, 150):
                    while len(ran) < goal:
                        await progress.wait()
                    server.kill()
                    await run_sync(server.start)
            answers = {n: await _insist(result.get) for n, result in results.items()}

    assert answers == {number: number * 2 for number in range(300)}


async def test_a_cut_connection_is_made_again_and_those_who_wait_are_served(server, proxy, connect):
    here, there = await connect(proxy.port), await connect(server.port)
    heard = Heard(_Patience())
    fetched: list[str] = []
    await here.watch(["1"], heard)

    async def fetch() -> None:
        fetched.extend(ids(await here.fetch(["q"], 1, math.inf)))

    with fail_after(_PATIENCE):
        async with create_task_group() as group:
            group.start_soon(fetch)
            await here.ping()
            proxy.cut()
            await there.publish([message("1")])
            await there.store([record("1", b"result")])

    assert fetched == ["1"]
    await heard.until_hearing("1", b"result")


async def test_what_was_leased_over_a_cut_connection_is_settled_over_the_next_one(proxy, connect):
    transport = await connect(proxy.port)
    await transport.publish([message("1"), message("2")])
    one, two = await take(transport)

    proxy.cut()

    assert list(await _insist(lambda: transport.renew([two.receipt]))) == [Lease.HELD]
    answers = await _insist(lambda: transport.settle([done(one, b"1"), done(two, b"2")]))
    assert list(answers) == [Settled.SETTLED] * 2
    assert await count(transport) == Counts()


async def test_a_batch_whose_answer_was_lost_is_sent_again_and_stored_once(server, proxy, connect):
    here, there = await connect(proxy.port), await connect(server.port)
    batch = [message(str(number)) for number in range(50)]
    outcomes: list[object] = []

    async def publish() -> None:
        outcomes.extend(await here.publish(batch))

    with fail_after(_PATIENCE):
        async with create_task_group() as group:
            proxy.freeze()
            group.start_soon(publish)
            for _ in range(20):
                await checkpoint()
            proxy.cut()
            proxy.thaw()

    assert outcomes == [Accepted()] * 50
    assert ids(await take(there)) == [one.task_id for one in batch]


@pytest.fixture
def begun(monkeypatch):
    """Set once a settlement has begun, in whichever thread."""
    begun = threading.Event()
    settle = chicory_nats.settling.Settler.settle

    async def note_and_settle(*args: Any) -> Any:
        begun.set()
        return await settle(*args)

    monkeypatch.setattr(chicory_nats.settling.Settler, "settle", note_and_settle)
    return begun


async def test_who_is_cancelled_and_who_closes_does_not_wait_for_a_server_that_is_away(
    server, connect, begun, monkeypatch
):
    for module in (chicory_nats.connection, chicory_nats.exchange, chicory_nats.boot):
        monkeypatch.setattr(module, "TIMEOUT", 10 * _PATIENCE)  # which is what nobody waits for
    here, there = await connect(server.port), await connect(server.port)
    await there.publish([message("1")])
    (delivery,) = await take(there)

    with fail_after(_PATIENCE):
        async with create_task_group() as group:
            group.start_soon(here.fetch, ["q"], 1, math.inf)
            await here.ping()
            server.kill()
            for verb in (
                partial(there.beat, WorkerRecord("w", ("q",), b""), _LEASE),
                partial(there.fetch, ["q"], 1, math.inf),
                partial(there.settle, [done(delivery)]),
            ):
                group.start_soon(verb)
            await run_sync(begun.wait)
            group.cancel_scope.cancel()
        await here.close()
        await there.close()


async def test_a_settlement_whose_caller_is_cancelled_while_the_server_is_away_is_made_all_the_same(
    server, connect, begun
):
    here = await connect(server.port)
    await here.publish([message("1")])
    (delivery,) = await take(here)
    with fail_after(_PATIENCE):
        async with create_task_group() as group:
            server.kill()
            group.start_soon(here.settle, [done(delivery, b"result")])
            await run_sync(begun.wait)
            group.cancel_scope.cancel()

        await run_sync(server.start)
        heard = Heard(_Patience())
        await _insist(lambda: here.watch(["1"], heard))
        await heard.until_hearing("1", b"result")
    assert await count(here) == Counts()


async def test_a_server_that_falls_silent_ends_every_verb_with_an_error_in_time(
    proxy, connect, monkeypatch
):
    transport = await connect(proxy.port)
    await transport.publish([message("1")])
    (delivery,) = await take(transport)
    for module in (chicory_nats.connection, chicory_nats.exchange, chicory_nats.reading):
        monkeypatch.setattr(module, "TIMEOUT", 2.0)
    proxy.freeze()
    verbs = [
        transport.ping,
        lambda: transport.publish([message("2")]),
        lambda: transport.settle([done(delivery)]),
        lambda: transport.renew([delivery.receipt]),
        lambda: transport.look_up(["1"]),
        transport.counts,
    ]

    for verb in verbs:
        with fail_after(_PATIENCE), pytest.raises(BrokerConnectionError):
            await verb()

    proxy.thaw()
    with fail_after(_PATIENCE):
        answers = await _insist(lambda: transport.settle([done(delivery)]))
        assert list(answers) in ([Settled.SETTLED], [Settled.FENCED])
        assert (await _insist(lambda: count(transport))).leased == 0


async def test_a_server_that_comes_back_without_jetstream_ends_every_verb_with_that_word(
    server, connect, monkeypatch
):
    transport = await connect(server.port)
    server.kill()
    server.switch_jetstream_off()
    await run_sync(server.start)
    verbs = [
        lambda: transport.publish([message("1")]),
        lambda: transport.look_up(["1"]),
        lambda: transport.fetch(["q"], 1, math.inf),
        transport.counts,
    ]

    with fail_after(_PATIENCE):
        await _insist(transport.ping)
        for module in ("boot", "connection", "exchange", "reading"):
            monkeypatch.setattr(f"chicory_nats.{module}.TIMEOUT", 3.0)
        for verb in verbs:
            with pytest.raises(BrokerConnectionError, match="JetStream is off"):
                await verb()


async def test_an_error_that_ends_the_client_is_healed(server, connect, monkeypatch):
    transport = await connect(server.port)
    monkeypatch.setattr(chicory_nats.session.Session, "measure", lambda *_, **__: 0)

    with fail_after(_PATIENCE):
        async with create_task_group() as group:
            scope = group.cancel_scope

            async def publish_what_is_too_large() -> None:
                await transport.publish([message("large", body=bytes(9 << 20))])

            async def go_on() -> None:
                await _insist(lambda: transport.publish([message("1")]))
                scope.cancel()

            monkeypatch.setattr(chicory_nats.exchange, "TIMEOUT", 1.0)
            with pytest.raises(BrokerConnectionError):
                await publish_what_is_too_large()
            group.start_soon(go_on)

    assert ids(await take(transport)) == ["1"]


async def test_a_message_with_headers_that_is_too_large_is_refused_before_it_is_sent(
    server, connect
):
    transport = await connect(server.port)

    with pytest.raises(MessageTooLargeError) as raised:
        await transport.publish([message("1"), message("2", body=bytes(8 << 20))])

    assert "max_payload" in str(raised.value)
    assert ids(await take(transport)) == []
    await transport.publish([message("3")])


_ACCOUNT = """
    accounts { A { users: [ { user: me, password: right } ], jetstream: { max_file: 2MB } } }
    no_auth_user: me
"""
_WITHOUT_ROOM = pytest.mark.parametrize(
    "limits", [{"room": "2MB"}, {"extra": _ACCOUNT}], ids=["server", "account"]
)


@_WITHOUT_ROOM
async def test_where_no_room_is_left_calls_are_refused_and_nothing_is_lost(
    tmp_path, connect, limits
):
    with NatsServer(tmp_path / "small", **limits) as server:
        transport = await connect(server.port)
        stored = await _fill(transport)

        first, *others = await take(transport)
        assert ids([first, *others]) == stored
        elsewhere = done(first, follow_ups=[message("next", queue="elsewhere")])
        assert list(await transport.settle([elsewhere])) == [Settled.SETTLED]
        await transport.settle([done(one) for one in others])
        assert list(await transport.publish([message("again")])) == [Accepted()]


def _retried(one: Delivery) -> Settlement:
    continued = retry(one, body=one.body + b"again")
    return Retry(continued.receipt, continued.publication, record(one.task_id))


def _given_up(one: Delivery) -> Settlement:
    return replace(dead(one), record=record(one.task_id))


@_WITHOUT_ROOM
@pytest.mark.parametrize("how", [_retried, _given_up])
async def test_where_no_room_is_left_calls_are_retried_and_given_up(tmp_path, connect, limits, how):
    with NatsServer(tmp_path / "small", **limits) as server:
        transport = await connect(server.port)
        await _fill(transport, 30_000)
        deliveries = await take(transport)

        settled = await transport.settle([how(one) for one in deliveries[:3]])

        assert list(settled) == [Settled.SETTLED] * 3


@_WITHOUT_ROOM
async def test_where_no_room_is_left_a_call_can_be_cancelled(tmp_path, connect, limits):
    with NatsServer(tmp_path / "small", **limits) as server:
        transport = await connect(server.port)
        first, *_ = await _fill(transport)

        assert list(await transport.cancel([record(first)])) == [Cancelled.REMOVED]


@_WITHOUT_ROOM
async def test_where_no_room_is_left_a_queue_can_be_paused_and_purged(tmp_path, connect, limits):
    with NatsServer(tmp_path / "small", **limits) as server:
        transport = await connect(server.port)
        stored = await _fill(transport)

        await transport.set_paused("q", paused=True)
        assert await transport.purge("q") == len(stored)


async def test_where_the_last_call_was_more_than_the_server_had_room_for_nothing_is_lost(
    tmp_path, connect
):
    with NatsServer(tmp_path / "small", room="5MB") as server:
        transport = await connect(server.port)
        stored = await _fill(transport, 2_000_000)

        deliveries = await take(transport)
        assert ids(deliveries) == stored
        settled = await transport.settle([done(one) for one in deliveries])
        assert list(settled) == [Settled.SETTLED] * len(stored)


@_WITHOUT_ROOM
async def test_where_no_room_is_left_another_worker_takes_over_after_a_crash_of_the_server(
    tmp_path, connect, limits
):
    with NatsServer(tmp_path / "small", **limits) as server:
        transport = await connect(server.port)
        stored = await _fill(transport)
        await take(transport)
        server.kill()
        await run_sync(server.start)

        other = await connect(server.port)
        settled: list[str] = []
        with fail_after(_PATIENCE):
            while len(settled) < len(stored):
                deliveries = await _insist(lambda: other.fetch(["q"], 100, math.inf))
                await other.settle([done(one) for one in deliveries])
                settled += ids(deliveries)

        assert sorted(settled) == sorted(stored)


async def test_a_loss_is_reported_once_and_so_is_its_end(server, connect, caplog):
    transport = await connect(server.port)

    with caplog.at_level(logging.DEBUG, "chicory.nats"), fail_after(_PATIENCE):
        server.kill()
        with pytest.raises(BrokerConnectionError):
            await _until_refused(transport)
        await run_sync(server.start)
        await _insist(transport.ping)

    lines = [one.getMessage() for one in caplog.records if one.name == "chicory.nats"]
    assert [line.partition(" the connection")[0].partition(" to ")[0] for line in lines] == [
        "lost",
        "connected",
    ]


async def test_a_server_that_ends_every_connection_is_asked_ever_more_seldom(tmp_path):
    with NatsServer(tmp_path / "strict", extra="max_subscriptions: 2") as strict:
        async with NatsTransport(TransportSettings(url=strict.url)) as transport:
            connection = transport._open.session.connection
            with fail_after(_PATIENCE):
                async with create_task_group() as group:
                    group.start_soon(transport.watch, ["1", "2", "3"], lambda *_: None)
                    while connection.generation < 4:
                        await checkpoint()
                    group.cancel_scope.cancel()

            assert connection._pause >= 0.2


async def test_what_is_asked_for_at_once_is_not_too_much_and_if_it_was_is_asked_for_again(
    tmp_path, monkeypatch
):
    names = [str(number) for number in range(100)]
    strict = NatsServer(tmp_path / "strict", max_payload=1 << 20, extra="max_pending: 8MB")
    settings = TransportSettings(url=strict.url, lease=_LEASE)
    with strict:
        async with NatsTransport(settings) as transport:
            for name in names:
                await transport.publish([message(name, body=bytes(400_000))])
            fetched: list[str] = []
            hear = Ear.data_received

            def read_on_once_it_is_too_late(ear: Ear, data: bytes) -> None:
                if len(data) > 50_000:  # messages, and no answer
                    monkeypatch.undo()
                    strict.until_logged("Slow Consumer")
                hear(ear, data)

            monkeypatch.setattr(chicory_nats.pull, "_BYTES", 1 << 30)
            monkeypatch.setattr(Ear, "data_received", read_on_once_it_is_too_late)
            with fail_after(_PATIENCE):
                await _drain(transport, fetched, len(names))

            assert sorted(fetched) == sorted(names)
            assert await count(transport) == Counts()


async def _drain(transport: Transport, fetched: list[str], number: int) -> None:
    while len(fetched) < number:
        found = await _insist(lambda: transport.fetch(["q"], 100, math.inf))
        answers = await _insist(lambda f=found: transport.settle([done(one) for one in f]))
        pairs = zip(ids(found), answers, strict=True)
        fetched += [name for name, answer in pairs if answer is Settled.SETTLED]


async def test_keys_ids_and_letters_are_what_they_were_before_the_crash(server, connect):
    transport = await connect(server.port)
    await transport.publish([message("1", unique="key"), message("2", body=body_of("2"))])

    server.kill()
    await run_sync(server.start)

    again = [message("1"), message("3", unique="key")]
    outcomes = await _insist(lambda: transport.publish(again))
    assert list(outcomes) == [Duplicate("1")] * 2
    assert ids(await take(transport)) == ["1", "2"]


async def _fill(transport: Transport, largest: int = 100_000) -> list[str]:
    """Store messages until there is no room for the smallest one; their names."""
    stored: list[str] = []
    for size in (largest, 10_000, 1_000, 0):
        with suppress(QueueFullError):
            while True:
                name = str(len(stored))
                await transport.publish([message(name, body=bytes(size))])
                stored.append(name)
    return stored


async def _until_refused(transport: Transport) -> None:
    while True:
        await transport.ping()


class _Patience:
    patience = _PATIENCE
