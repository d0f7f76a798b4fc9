import math
import time

import anyio
import pytest
from anyio import create_task_group, fail_after, wait_all_tasks_blocked

from chicory import clock as clocks
from chicory.clock import SystemClock
from chicory.testing.clock import START, ManualClock


def test_the_system_s_clock_tells_the_time_of_the_epoch():
    before = time.time()

    assert before <= SystemClock().now() <= time.time()


@pytest.mark.parametrize("until", [0.0, -5.0, 1.0])
async def test_a_moment_that_has_passed_is_not_waited_for(until):
    for clock in (SystemClock(), ManualClock()):
        with fail_after(60):
            await clock.wait(anyio.Event(), until)


@pytest.mark.parametrize("until", [math.inf, 4e9])
async def test_an_event_ends_the_wait_for_a_moment(until):
    for clock in (SystemClock(), ManualClock()):
        event = anyio.Event()
        with fail_after(60):
            async with create_task_group() as tasks:
                tasks.start_soon(clock.wait, event, until)
                await wait_all_tasks_blocked()
                event.set()


async def test_who_waits_for_a_moment_goes_on_although_the_clock_is_set_past_it(monkeypatch):
    clock, ahead = SystemClock(), 0.0
    monkeypatch.setattr(clock, "now", lambda: time.time() + ahead)

    with fail_after(60):
        async with create_task_group() as tasks:
            tasks.start_soon(clock.wait, anyio.Event(), clock.now() + 3600)
            await wait_all_tasks_blocked()
            ahead = 3601.0


async def test_who_waits_for_a_moment_waits_on_where_the_clock_is_set_back(monkeypatch):
    clock, now, looks, over = SystemClock(), START, anyio.Event(), anyio.Event()

    async def wait() -> None:
        await clock.wait(anyio.Event(), START + 3600)
        over.set()

    def look() -> float:
        if now < START:
            looks.set()
        return now

    monkeypatch.setattr(clock, "now", look)
    monkeypatch.setattr(clocks, "GLANCE", 0.01)
    with fail_after(60):
        async with create_task_group() as tasks:
            tasks.start_soon(wait)
            await wait_all_tasks_blocked()
            now = START - 3600
            await looks.wait()
            await wait_all_tasks_blocked()
            assert not over.is_set()
            now = START + 3600


async def test_a_clock_moved_by_hand_wakes_those_whose_time_has_come():
    clock = ManualClock()
    woken: list[int] = []

    async def wait(seconds: int) -> None:
        await clock.wait(anyio.Event(), START + seconds)
        woken.append(seconds)

    with fail_after(60):
        async with create_task_group() as tasks:
            for seconds in (3, 1, 2):
                tasks.start_soon(wait, seconds)
            await wait_all_tasks_blocked()
            clock.advance(1)
            await wait_all_tasks_blocked()
            assert woken == [1]
            clock.advance(5)

    assert sorted(woken) == [1, 2, 3]
    assert clock.now() == START + 6


def test_time_does_not_go_back():
    with pytest.raises(ValueError, match=r"time does not go back"):
        ManualClock().advance(-1)
