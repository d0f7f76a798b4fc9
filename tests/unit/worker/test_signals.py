"""Signals to a worker that runs in the main thread."""

from __future__ import annotations

import os
import signal

import anyio
import pytest
from anyio import Event, create_task_group
from vital import until_gone

from chicory import TaskState, Worker, WorkerConfig
from chicory.worker.signals import hear_signals


@pytest.fixture
async def held(app):
    held = Held()
    held.task = app.task(name="hold")(held.hold)
    return held


class Held:
    def __init__(self) -> None:
        self.begun, self.gate = Event(), Event()

    async def hold(self) -> str:
        self.begun.set()
        await self.gate.wait()
        return "finished"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_lets_running_tasks_finish(app, held, log, number):
    handle = await held.task.delay()

    with anyio.fail_after(60):
        async with create_task_group() as group:
            group.start_soon(Worker(app).run)
            await held.begun.wait()
            os.kill(os.getpid(), number)
            await log.heard(f"{number.name}: stopping; 1 running tasks get 30 s")
            held.gate.set()
        value = await handle.get()

    assert value == "finished"


async def test_a_second_signal_cancels_and_gives_back(app, held, log):
    handle = await held.task.delay()
    worker = Worker(app, WorkerConfig(shutdown_timeout=1000))

    with anyio.fail_after(60):
        async with create_task_group() as group:
            group.start_soon(worker.run)
            await held.begun.wait()
            os.kill(os.getpid(), signal.SIGTERM)
            await log.heard("SIGTERM: stopping")
            os.kill(os.getpid(), signal.SIGINT)
        session = await app.broker_link.session()
        (delivery,) = await session.transport.fetch(["default"], 1, 0)

    assert log.count("second signal: cancelling 1 tasks") == 1
    assert (delivery.task_id, delivery.deliveries) == (handle.task_id, 1)
    assert worker.get_stats().tasks_failed == 0


async def test_a_second_signal_is_another_one_also_where_the_event_loop_was_busy(app, held, log):
    handle = await held.task.delay()
    worker = Worker(app, WorkerConfig(shutdown_timeout=1000))

    with anyio.fail_after(60):
        async with create_task_group() as group:
            group.start_soon(worker.run)
            await held.begun.wait()
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGINT)
        session = await app.broker_link.session()
        (delivery,) = await session.transport.fetch(["default"], 1, 0)

    assert log.count("second signal: cancelling 1 tasks") == 1
    assert (delivery.task_id, delivery.deliveries) == (handle.task_id, 1)


async def test_a_second_signal_that_comes_while_the_first_is_obeyed_does_nothing_else():
    heard, obeyed, again = list[int](), list[str](), list[int]()
    before = signal.signal(signal.SIGTERM, lambda number, _: again.append(number))

    def stop(name: str) -> None:
        obeyed.append(name)
        os.kill(os.getpid(), signal.SIGTERM)

    try:
        with anyio.fail_after(60):
            async with create_task_group() as group:
                await group.start(hear_signals, stop, lambda: obeyed.append("cancel"), heard.append)
                os.kill(os.getpid(), signal.SIGTERM)
                while len(obeyed) < 2:
                    await anyio.lowlevel.checkpoint()
                for _ in range(10):
                    await anyio.lowlevel.checkpoint()
                group.cancel_scope.cancel()
    finally:
        signal.signal(signal.SIGTERM, before)

    assert obeyed == ["SIGTERM", "cancel"]
    assert again == []


async def test_a_signal_while_stop_waits_does_not_cut_it_short(app, held, log):
    handle = await held.task.delay()
    worker = Worker(app)

    with anyio.fail_after(60):
        async with create_task_group() as group:
            group.start_soon(worker.run)
            await held.begun.wait()
            group.start_soon(worker.stop)
            await anyio.lowlevel.checkpoint()
            os.kill(os.getpid(), signal.SIGTERM)
            await log.heard("SIGTERM: stopping")
            held.gate.set()
        value = await handle.get()

    assert value == "finished"


async def test_a_signal_ends_a_worker_whose_broker_does_not_let_it_start(app, cable, log):
    cable.stuck.add("open")

    with anyio.fail_after(60):
        async with create_task_group() as group:
            group.start_soon(Worker(app).run)
            await cable.called("open", 1)
            os.kill(os.getpid(), signal.SIGTERM)
            await log.heard("SIGTERM: stopping")

    assert cable.calls["fetch"] == 0


async def test_the_process_has_its_signals_back_afterwards(app):
    before = signal.getsignal(signal.SIGTERM)
    worker = Worker(app)

    with anyio.fail_after(60):
        async with create_task_group() as group:
            group.start_soon(worker.run)
            while signal.getsignal(signal.SIGTERM) == before:
                await anyio.lowlevel.checkpoint()
            await worker.stop()

    assert signal.getsignal(signal.SIGTERM) == before


async def test_stop_ends_run(app, held):
    handle = await held.task.delay()
    worker = Worker(app)

    with anyio.fail_after(60):
        async with create_task_group() as group:
            group.start_soon(worker.run)
            await held.begun.wait()
            held.gate.set()
            await handle.get()
            await worker.stop()

    assert await handle.state() is TaskState.SUCCESS
    assert worker.get_stats().tasks_processed == 1


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
async def test_a_signal_to_a_fork_ends_that_and_is_none_to_the_worker(app, held, log):
    ready, said = os.pipe()
    handle = await held.task.delay()

    with anyio.fail_after(60):
        async with create_task_group() as group:
            group.start_soon(Worker(app).run)
            await held.begun.wait()
            fork = os.fork()
            while not fork:
                os.write(said, b"x")
                signal.pause()
            try:
                os.read(ready, 1)
                os.kill(fork, signal.SIGTERM)
                await until_gone(fork)
            finally:
                os.kill(fork, signal.SIGKILL)
                status = os.waitpid(fork, 0)[1]  # noqa: ASYNC222  (it was killed)
            os.kill(os.getpid(), signal.SIGINT)
            await log.heard("SIGINT: stopping; 1 running tasks get 30 s")
            held.gate.set()
        value = await handle.get()

    assert os.waitstatus_to_exitcode(status) == -signal.SIGTERM
    assert value == "finished"
    assert not log.count("SIGTERM: stopping")
    assert not log.count("second signal")
