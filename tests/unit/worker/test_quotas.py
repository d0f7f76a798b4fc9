"""Limits of their own: of a task, of threads, of processes; and who waits for them aside."""

from __future__ import annotations

import threading
import time

import anyio
import pytest
from anyio import Event

from chicory import Chicory, TaskMessage, TaskState, Worker, WorkerConfig
from chicory.errors import TaskCancelledError
from chicory.message import decode, encode
from chicory.task import Task
from chicory.transport import Delivery, Priority
from chicory.worker.attempt import Attempt
from chicory.worker.quotas import HOARDING, NEXT, Quotas

PATIENCE = 60


class Holding:
    """Calls that begin, and go on until they are let go; how many ran at once."""

    def __init__(self, app: Chicory, **options) -> None:
        self.gate, self.running, self.most, self.begun = Event(), 0, 0, 0
        self.task = app.task(name="hold", **options)(self.hold)

    async def hold(self) -> int:
        self.begun += 1
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self.gate.wait()
        finally:
            self.running -= 1
        return self.begun


@pytest.fixture
def waits(monkeypatch):
    """``waits(hoarding=0.001, next=1000)``: for how many seconds calls wait aside."""

    def waits(**seconds: float) -> None:
        for name, value in seconds.items():
            monkeypatch.setattr(f"chicory.worker.quotas.{name.upper()}", value)

    return waits


@pytest.fixture
def patient(waits):
    """What waits aside waits for as long as it takes."""
    waits(hoarding=1000)


@pytest.fixture
def impatient(waits):
    waits(hoarding=0.001, next=1000)


async def settle_down(worker: Worker, aside: int) -> None:
    while len(worker._run.shift.bench.quotas) != aside:
        await anyio.lowlevel.checkpoint()


async def test_no_more_calls_of_a_task_run_at_once_than_it_may_and_all_run(app, working, patient):
    holding = Holding(app, max_concurrency=2)
    async with working(concurrency=8) as worker:
        handles = [await holding.task.delay() for _ in range(7)]
        await settle_down(worker, 5)
        begun = holding.begun
        holding.gate.set()
        for handle in handles:
            await handle.get()

    assert begun == 2
    assert holding.most == 2
    assert holding.begun == 7


async def test_a_task_at_its_limit_does_not_take_the_slots_of_others(app, working, patient):
    holding = Holding(app, max_concurrency=1)

    @app.task(name="quick")
    async def quick() -> str:
        return "run"

    async with working(concurrency=4) as worker:
        for _ in range(3):
            await holding.task.delay()
        await settle_down(worker, 2)
        values = [await (await quick.delay()).get() for _ in range(5)]
        holding.gate.set()

    assert values == ["run"] * 5


async def test_those_that_wait_are_let_in_in_their_order(app, working, patient):
    seen, gate = [], Event()

    @app.task(name="note", max_concurrency=1)
    async def note(number: int) -> None:
        await gate.wait()
        seen.append(number)

    async with working(concurrency=8) as worker:
        handles = [await note.delay(number) for number in range(6)]
        await settle_down(worker, 5)
        gate.set()
        for handle in handles:
            await handle.get()

    assert seen == list(range(6))


async def test_threads_have_a_limit_of_the_worker(app, working, patient):
    gate, running, most = threading.Semaphore(0), [], []

    @app.task(name="plain")
    def plain() -> None:
        running.append(1)
        most.append(len(running))
        gate.acquire(timeout=PATIENCE)
        running.pop()

    async with working(concurrency=6, threads=2) as worker:
        handles = [await plain.delay() for _ in range(5)]
        await settle_down(worker, 3)
        gate.release(5)
        for handle in handles:
            await handle.get()

    assert max(most) <= 2


async def test_a_limit_that_cannot_be_reached_costs_nothing(app, working):
    Holding(app, max_concurrency=4)

    @app.task(name="plain")
    def plain() -> None: ...

    async with working(concurrency=4) as worker:
        assert worker._run.shift.bench.quotas._quotas == {}


async def test_those_that_will_not_run_soon_go_back_to_the_queue_for_others(
    app, working, impatient, waits, clock
):
    holding = Holding(app, max_concurrency=1)
    async with working(concurrency=8) as worker:
        handles = [await holding.task.delay() for _ in range(5)]
        await settle_down(worker, 1)  # the next one
        while (await app.broker.counts(["default"]))["default"].delayed < 3:
            await anyio.lowlevel.checkpoint()
        pending = await app.broker.get_pending_count()
        assert worker.get_stats().tasks_processed == 0
        waits(hoarding=1000)  # the clock is moved once: who goes back again would stay there
        holding.gate.set()
        clock.advance(2)
        for handle in handles:
            await handle.get()

    assert pending == 2
    assert holding.begun == 5
    assert holding.most == 1


async def test_the_next_one_goes_back_too_when_it_has_waited_for_long(app, working, waits, clock):
    waits(hoarding=0.001, next=0.001)
    holding = Holding(app, max_concurrency=1)
    async with working(concurrency=8):
        handles = [await holding.task.delay() for _ in range(2)]
        while not (await app.broker.counts(["default"]))["default"].delayed:
            await anyio.lowlevel.checkpoint()
        waits(next=1000)  # likewise
        holding.gate.set()
        clock.advance(2)
        for handle in handles:
            await handle.get()

    assert holding.begun == 2


async def test_messages_behind_a_task_at_its_limit_are_reached(app, working, impatient):
    holding = Holding(app, max_concurrency=1)

    @app.task(name="quick")
    async def quick() -> str:
        return "run"

    for _ in range(40):  # more than a worker of that concurrency holds
        await holding.task.send()
    handle = await quick.delay()
    async with working(concurrency=4):
        assert await handle.get() == "run"
        holding.gate.set()


async def test_one_that_waits_aside_can_be_cancelled_and_never_begins(app, working, patient):
    holding = Holding(app, max_concurrency=1)
    async with working(concurrency=4) as worker:
        await holding.task.delay()
        second = await holding.task.delay()
        await settle_down(worker, 1)
        await second.cancel()
        with pytest.raises(TaskCancelledError):
            await second.get()
        holding.gate.set()

    assert holding.begun == 1


async def test_one_that_expires_while_it_waits_aside_does_not_begin(app, working, patient, clock):
    holding = Holding(app, max_concurrency=1)
    async with working(concurrency=4) as worker:
        first = await holding.task.delay()
        second = await holding.task.options(expires=5).delay()
        await settle_down(worker, 1)
        clock.advance(6)
        holding.gate.set()
        await first.get()
        while await second.state() is not TaskState.FAILURE:
            await anyio.lowlevel.checkpoint()

    assert holding.begun == 1


async def test_those_that_wait_aside_are_given_back_when_the_worker_stops(app, working, patient):
    holding = Holding(app, max_concurrency=1)
    async with working(concurrency=4) as worker:
        handles = [await holding.task.delay() for _ in range(3)]
        await settle_down(worker, 2)
        async with anyio.create_task_group() as group:
            group.start_soon(worker.stop)
            while await app.broker.get_queue_size() < 2:
                await anyio.lowlevel.checkpoint()
            holding.gate.set()
        await worker.stop()

        session = await app.broker_link.session()
        fetched = await session.transport.fetch(["default"], 10, 0)

    assert [one.task_id for one in fetched] == [handle.task_id for handle in handles[1:]]
    assert {one.deliveries for one in fetched} == {1}


async def test_one_whose_lease_is_lost_while_it_waits_aside_does_not_begin(app, working, patient):
    holding = Holding(app, max_concurrency=1)
    async with working(concurrency=4) as worker:
        await holding.task.delay()
        second = await holding.task.delay()
        await settle_down(worker, 1)
        shift = worker._run.shift
        (receipt,) = [
            receipt
            for receipt, attempt in shift.held.items()
            if attempt.delivery.task_id == second.task_id
        ]
        shift.bench.lost(receipt)
        assert len(shift.bench.quotas) == 0
        holding.gate.set()
        await second.get()  # given back, and fetched again

    assert holding.begun == 2


async def test_what_runs_at_most_once_is_not_settled_while_it_waits_aside(app, working, patient):
    holding = Holding(app, max_concurrency=1, delivery_mode="at_most_once")
    async with working(concurrency=4) as worker:
        await holding.task.delay()
        await holding.task.delay()
        await settle_down(worker, 1)
        while not holding.begun:
            await anyio.lowlevel.checkpoint()
        pending = await app.broker.get_pending_count()

    assert pending == 1


async def test_a_burst_runs_all_of_them(app, impatient):
    most, running = [], []

    @app.task(name="short", max_concurrency=1)
    async def short() -> None:
        running.append(1)
        most.append(len(running))
        await anyio.lowlevel.checkpoint()
        running.pop()

    for _ in range(30):
        await short.send()
    worker = Worker(app, WorkerConfig(concurrency=4), burst=True)
    with anyio.fail_after(PATIENCE):
        await worker.run(handle_signals=False)

    assert worker.get_stats().tasks_processed == 30
    assert max(most) == 1


async def test_both_limits_of_a_call_hold(app, working, patient):
    gate = threading.Semaphore(0)
    running: dict[str, int] = {"a": 0, "b": 0}
    most: dict[str, int] = {"a": 0, "b": 0, "both": 0}

    def hold(name: str) -> None:
        running[name] += 1
        most[name] = max(most[name], running[name])
        most["both"] = max(most["both"], sum(running.values()))
        gate.acquire(timeout=PATIENCE)
        running[name] -= 1

    @app.task(name="a", max_concurrency=1)
    def a() -> None:
        hold("a")

    @app.task(name="b")
    def b() -> None:
        hold("b")

    tasks: list[Task] = [a, a, a, b, b, b]
    async with working(concurrency=8, threads=2) as worker:
        handles = [await task.delay() for task in tasks]
        await settle_down(worker, 4)
        gate.release(6)
        for handle in handles:
            await handle.get()

    assert most["a"] == 1
    assert most["both"] <= 2


async def test_those_that_begin_as_fast_as_others_have_begun_are_not_given_back(app):
    task = app.task(name="hold", max_concurrency=1)(Holding.hold)
    resumed: list[Attempt] = []
    quotas = Quotas({task.name: task}, WorkerConfig(concurrency=8), resumed.append)
    envelope = decode(encode(TaskMessage(id="x", name=task.name)))
    attempts = [
        Attempt(Delivery("default", str(n), b"", Priority.NORMAL, 1, n), 0.0) for n in range(8)
    ]
    for attempt in attempts:
        attempt.envelope, attempt.name = envelope, envelope.name
    assert [quotas.admit(attempt) for attempt in attempts] == [True, *[False] * 7]
    late = time.monotonic() + (HOARDING + NEXT) / 2

    before = [attempt for attempt, _ in quotas._overdue(late)]
    quotas.leave(attempts[0])
    quotas.leave(attempts[1])
    after = [attempt for attempt, _ in quotas._overdue(late)]

    assert before == attempts[2:]
    assert resumed == attempts[1:3]
    assert after == attempts[6:]
