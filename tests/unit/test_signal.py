import threading

import anyio
import pytest
from anyio import create_task_group, fail_after, to_thread, wait_all_tasks_blocked

from chicory.clock import SystemClock
from chicory.signal import Signal
from chicory.testing.clock import ManualClock


async def test_a_notification_wakes_all_who_wait():
    signal = Signal(SystemClock())

    with fail_after(60):
        async with create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(signal.wait, signal.version)
            await wait_all_tasks_blocked()
            assert signal.awaited  # noqa: PGH005  (no mock: this is ours)
            signal.notify()

    assert not signal.awaited


async def test_a_notification_between_the_look_and_the_wait_is_not_lost():
    signal = Signal(SystemClock())
    seen = signal.version
    signal.notify()

    with fail_after(60):
        await signal.wait(seen)


async def test_a_wait_ends_at_its_time():
    clock = ManualClock()
    signal = Signal(clock)

    with fail_after(60):
        async with create_task_group() as tasks:
            tasks.start_soon(signal.wait, signal.version, clock.now() + 5)
            await wait_all_tasks_blocked()
            clock.advance(5)

    assert not signal.awaited


async def test_a_cancelled_wait_leaves_nobody_waiting():
    signal = Signal(SystemClock())

    async with create_task_group() as tasks:
        tasks.start_soon(signal.wait, signal.version)
        await wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()

    assert not signal.awaited
    signal.notify()


async def test_no_wake_up_of_another_thread_is_lost():
    signal = Signal(SystemClock())
    count, rounds = 0, 500

    def produce() -> None:
        nonlocal count
        for _ in range(rounds):
            count += 1
            signal.notify()

    with fail_after(60):
        async with create_task_group() as tasks:
            tasks.start_soon(to_thread.run_sync, produce)
            while True:
                seen = signal.version
                if count == rounds:
                    break
                await signal.wait(seen)


@pytest.mark.parametrize("other", ["asyncio", "trio"])
async def test_waiters_may_live_on_several_loops(other):
    signal = Signal(SystemClock())
    ready = threading.Event()

    async def wait_there() -> None:
        async with create_task_group() as tasks:
            tasks.start_soon(signal.wait, signal.version)
            await wait_all_tasks_blocked()
            ready.set()

    def notify() -> None:
        ready.wait(10)
        signal.notify()

    with fail_after(60):
        async with create_task_group() as tasks:
            tasks.start_soon(signal.wait, signal.version)
            await wait_all_tasks_blocked()
            tasks.start_soon(to_thread.run_sync, lambda: anyio.run(wait_there, backend=other))
            tasks.start_soon(to_thread.run_sync, notify)


async def test_a_waiter_whose_loop_has_ended_holds_nobody_up():
    signal = Signal(SystemClock())
    signal._waiters[anyio.Event()] = DeadLoop()

    signal.notify()

    assert not signal.awaited


class DeadLoop:
    key = None

    def call_soon(self, function, *args):
        return False
