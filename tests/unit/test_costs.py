"""What a task costs in round trips: counted, not timed, so that a loss of speed is seen anywhere.

The bounds are about twice what is usual: how many tasks share a round trip depends on how fast
the machine is. A cost that grows by one for each task exceeds every one of them.
"""

from __future__ import annotations

import re
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from uuid import uuid4

import pytest
from anyio import Event, create_task_group, fail_after, wait_all_tasks_blocked
from servers.nats import NatsServer

import chicory_nats.client
import chicory_sqlite.database
from chicory import Chicory, ChicoryConfig, Worker, WorkerConfig
from chicory.testing.memory import MemoryTransport
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
    Unique,
)
from chicory.worker.intake import MAX_FETCH, MAX_UNSETTLED
from chicory_sqlite.session import Session

TASKS = 2048
BATCH = 128
CONCURRENCY = 32
DEADLINE = 60


class Workload:
    """No-ops, and the news that all of them have run."""

    def __init__(self, url: str, config: ChicoryConfig | None = None) -> None:
        self.app = Chicory(url, config=config)
        self.worker = Worker(self.app, WorkerConfig(concurrency=CONCURRENCY))
        self.finished = Event()
        self.task = self.app.task(name="noop")(self.run)
        self._ran = 0

    async def run(self) -> None:
        self._ran += 1
        if self._ran == TASKS:
            self.finished.set()

    async def enqueue(self) -> None:
        async with create_task_group() as group:
            for _ in range(TASKS):
                group.start_soon(self.task.send)

    async def drain(self) -> None:
        with fail_after(DEADLINE):
            async with self.worker:
                await self.finished.wait()


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    counted: Counter[str] = Counter()

    def count(verb: str) -> None:
        original = getattr(MemoryTransport, verb)

        async def counting(self, *args):
            counted[verb] += 1
            return await original(self, *args)

        monkeypatch.setattr(MemoryTransport, verb, counting)

    for verb in (
        *("publish", "fetch", "settle", "store", "look_up", "watch"),
        *("find_dead", "replay", "discard", "cancel"),
    ):
        count(verb)
    return counted


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    counted: Counter[str] = Counter()
    connect = chicory_sqlite.database._connect

    take = Session.take

    def take_and_count(session: Session) -> None:
        counted["transactions"] += 1
        take(session)

    def note(statement: str) -> None:
        # the watcher's glances at shared memory follow the time, not the tasks
        counted["all"] += not statement.startswith("PRAGMA")

    def connect_and_count(address: object) -> sqlite3.Connection:
        connection = connect(address)
        connection.set_trace_callback(note)
        return connection

    monkeypatch.setattr(chicory_sqlite.database, "_connect", connect_and_count)
    monkeypatch.setattr(Session, "take", take_and_count)
    return counted


@pytest.fixture(scope="module")
def nats(tmp_path_factory) -> Iterator[NatsServer]:
    with NatsServer(tmp_path_factory.mktemp("nats")) as server:
        yield server


@pytest.fixture
def traffic(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """With a NATS server: writes, what is published, requests to its API among it, what comes."""
    counted: Counter[str] = Counter()
    client = chicory_nats.client.Client
    write, process = client.write, client._process_msg

    async def write_and_count(self, commands: bytes) -> None:
        counted["writes"] += 1
        subjects = re.findall(rb"(?:^|\r\n)H?PUB (\S+) ", commands)
        counted["out"] += len(subjects)
        counted["api"] += sum(subject.startswith(b"$JS.API.") for subject in subjects)
        await write(self, commands)

    async def process_and_count(self, *message) -> None:
        counted["in"] += 1
        await process(self, *message)

    monkeypatch.setattr(client, "write", write_and_count)
    monkeypatch.setattr(client, "_process_msg", process_and_count)
    return counted


def _on(server: NatsServer) -> Workload:
    # that leases are renewed follows the time, not the tasks
    return Workload(server.url, ChicoryConfig(namespace=uuid4().hex, lease=3600))


async def test_a_call_is_one_message_to_nats_and_its_answer(nats, traffic):
    load = _on(nats)
    async with load.app:
        traffic.clear()

        await load.enqueue()

    assert traffic["writes"] <= TASKS / 64
    assert traffic["out"] <= TASKS * 1.05
    assert traffic["in"] <= TASKS * 1.05


async def test_a_task_is_two_messages_each_way_with_nats(nats, traffic):
    load = _on(nats)
    async with load.app:
        await load.enqueue()
        traffic.clear()

        await load.drain()

    # its delivery; its outcome, and the answer; its acknowledgement, the last of a batch answered
    assert traffic["out"] - traffic["api"] <= TASKS * 2.1
    assert traffic["in"] - traffic["api"] <= TASKS * 2.1
    # how many share these depends on the machine
    assert traffic["writes"] <= TASKS / 2
    assert traffic["api"] <= TASKS / 2


async def test_a_worker_makes_one_round_trip_for_many_tasks(calls):
    load = Workload("memory://")
    async with load.app:
        await load.enqueue()
        calls.clear()

        await load.drain()

    assert calls.total() <= TASKS / 8
    assert set(calls) <= {"fetch", "settle", "watch"}
    assert calls["watch"] <= 1  # for orders to cancel, once in a worker's life


async def test_thousands_of_waiters_for_results_share_round_trips(calls):
    load = Workload("memory://")
    async with load.app:
        results = [await load.task.delay() for _ in range(TASKS)]
        calls.clear()

        async with create_task_group() as group:
            for result in results:
                group.start_soon(result.get, DEADLINE)
            await load.drain()

    assert calls["watch"] <= TASKS / 64
    assert calls["look_up"] == 0


async def test_thousands_of_dead_letters_are_replayed_or_deleted_in_few_round_trips(calls):
    async with Chicory("memory://") as app:
        await _bury(app, TASKS)
        letters = [letter.message_id for letter in await app.broker.get_dlq_messages(count=TASKS)]
        calls.clear()

        assert all(await app.broker.replay_many_from_dlq(letters[1:]))
        assert all(await app.broker.delete_many_from_dlq(letters[:1]))

    assert calls.total() <= TASKS / 16


async def test_calls_that_are_cancelled_together_share_round_trips(calls):
    load = Workload("memory://")
    async with load.app:
        results = await load.app.enqueue_many(load.task.call() for _ in range(TASKS))
        await (await load.app.broker_link.session()).transport.fetch(["default"], TASKS // 2, 0)
        calls.clear()

        async with create_task_group() as group:
            for result in results:
                group.start_soon(result.cancel)

    assert calls["cancel"] <= TASKS / 64
    assert calls["store"] <= TASKS / 32


async def test_calls_that_are_cancelled_together_stop_a_queue_of_nats_once(nats, traffic):
    load = _on(nats)
    async with load.app:
        results = await load.app.enqueue_many(load.task.call() for _ in range(BATCH))
        traffic.clear()

        async with create_task_group() as group:
            for result in results:
                group.start_soon(result.cancel)

        assert await load.app.broker.get_queue_size() == 0
    assert traffic["api"] <= BATCH * 4


async def _bury(app: Chicory, number: int) -> None:
    """Have that many messages given up."""
    transport = (await app.broker_link.session()).transport
    await transport.publish(
        [Publication("default", str(n), b"", Priority.NORMAL) for n in range(number)]
    )
    deliveries = await transport.fetch(["default"], number, 0)
    await transport.settle([Dead(one.receipt, _letter(one.task_id)) for one in deliveries])


def _letter(task_id: str) -> DeadLetter:
    return DeadLetter(task_id, "default", task_id, b"", "failed", "no", 0, 0.0, Priority.NORMAL)


async def test_concurrent_callers_share_transactions(statements, tmp_path):
    load = Workload(f"sqlite:///{tmp_path / 'queue.db'}")
    async with load.app:
        statements.clear()

        await load.enqueue()

    assert statements["transactions"] <= TASKS / 128
    assert statements["all"] <= TASKS / 16


async def test_many_calls_are_enqueued_in_few_transactions(statements, tmp_path):
    load = Workload(f"sqlite:///{tmp_path / 'queue.db'}")
    async with load.app:
        statements.clear()

        await load.app.enqueue_many(load.task.call() for _ in range(TASKS))

    batches = TASKS / load.app.broker.bulk + 1
    assert statements["transactions"] <= batches
    assert statements["all"] <= 4 * batches + 6  # what a parcel sets off is counted, too


async def test_a_worker_shares_transactions_and_statements_between_tasks(statements, tmp_path):
    load = Workload(f"sqlite:///{tmp_path / 'queue.db'}")
    async with load.app:
        await load.enqueue()
        statements.clear()

        await load.drain()

    # how many share these depends on the machine
    assert statements["transactions"] <= TASKS / 8
    assert statements["all"] < TASKS


@pytest.mark.parametrize("kind", ["failed", "retried", "given back", "unique"])
async def test_a_worker_shares_statements_whatever_becomes_of_tasks(statements, tmp_path, kind):
    async with Chicory(f"sqlite:///{tmp_path / 'queue.db'}") as app:
        transport = (await app.broker_link.session()).transport
        unique = [Unique(f"key {n}", 60.0) if kind == "unique" else None for n in range(BATCH)]
        await transport.publish(
            [Publication("q", str(n), b"", Priority.NORMAL, unique=unique[n]) for n in range(BATCH)]
        )
        deliveries = await transport.fetch(["q"], BATCH, 0)
        statements.clear()
        await transport.settle([_settled(one, kind) for one in deliveries])

    assert statements["all"] <= BATCH / 4


def _settled(delivery: Delivery, kind: str) -> Settlement:
    receipt, task_id = delivery.receipt, delivery.task_id
    record = Record(task_id, b"", 60.0)
    match kind:
        case "failed":
            return Dead(receipt, _letter(task_id), record)
        case "retried":
            again = Publication("q", task_id, b"", Priority.NORMAL, time.time() + 60)
            return Retry(receipt, again, record)
        case "given back":
            return Release(receipt, (time.time() + 60) * (int(task_id) % 2))
        case _:
            return Done(receipt, record)


async def test_a_worker_whose_outcomes_cannot_be_made_durable_fetches_no_more(monkeypatch):
    gate = Event()
    settle = MemoryTransport.settle

    async def settle_later(self, settlements):
        await gate.wait()
        return await settle(self, settlements)

    monkeypatch.setattr(MemoryTransport, "settle", settle_later)
    load = Workload("memory://")
    async with load.app:
        await load.enqueue()
        with fail_after(DEADLINE):
            async with load.worker:
                await wait_all_tasks_blocked()
                leased = await load.app.broker.get_pending_count()
                gate.set()
                await load.finished.wait()

    assert leased <= MAX_UNSETTLED + MAX_FETCH + CONCURRENCY < TASKS
