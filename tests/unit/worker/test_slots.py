"""The slots by themselves."""

from __future__ import annotations

import itertools
import math

import anyio
from anyio import create_task_group
from msgspec import Raw

from chicory.outcome import Returned
from chicory.transport import Delivery, Priority
from chicory.worker import slots as slots_module
from chicory.worker.attempt import Attempt
from chicory.worker.slots import FAIRNESS, Slots


def attempt(name: str = "a") -> Attempt:
    return Attempt(Delivery("q", name, b"", Priority.NORMAL, 1, name), 0.0)


async def test_all_slots_together_take_one_turn_of_the_event_loop_at_a_time(monkeypatch):
    """A call takes a quarter of a turn; slots with turns of their own would take many turns."""
    ticks = itertools.count()
    monkeypatch.setattr("time.monotonic", lambda: next(ticks) * FAIRNESS / 4)
    done, between, most = 0, 0, 0

    async def run(each: Attempt) -> None:
        each.ending = Returned(Raw())

    def finish(_: Attempt) -> None:
        nonlocal done, between, most
        done, between = done + 1, between + 1
        most = max(most, between)

    with anyio.fail_after(60):
        async with create_task_group() as group:
            slots = Slots(group, 8, run, finish)
            slots.push([attempt() for _ in range(1000)])
            while done < 1000:
                between = 0
                await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()

    assert most <= 2 * (4 + 8)  # one slot its turn, and one call of each other


async def test_a_thousand_calls_leave_nothing_behind():
    finished = anyio.Event()
    left = 1000

    async def run(each: Attempt) -> None:
        await anyio.lowlevel.checkpoint()
        each.ending = Returned(Raw())

    def finish(_: Attempt) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            finished.set()

    with anyio.fail_after(60):
        async with create_task_group() as group:
            slots = Slots(group, 4, run, finish)
            slots.push([attempt(str(n)) for n in range(1000)])
            await finished.wait()
            await anyio.wait_all_tasks_blocked()
            state = (len(slots.running), len(slots.queue), slots._alive, len(slots._parked))
            group.cancel_scope.cancel()
        after = (slots._alive, len(slots._parked))

    assert state == (0, 0, 4, 4)
    assert after == (0, 0)


async def test_of_slots_with_nothing_to_do_one_runs_what_ends_at_once_and_one_stands_by(
    monkeypatch,
):
    monkeypatch.setattr(slots_module, "FAIRNESS", math.inf)  # a busy machine may take any time
    finished, parked = anyio.Event(), []
    park = Slots._park

    async def note(self) -> None:
        parked.append(self)
        await park(self)

    async def run(each: Attempt) -> None:
        each.ending = Returned(Raw())
        if each.delivery.task_id == "last":
            finished.set()

    with anyio.fail_after(60):
        async with create_task_group() as group:
            slots = Slots(group, 8, run, lambda _: None)
            slots.push([attempt() for _ in range(8)])
            await anyio.wait_all_tasks_blocked()
            monkeypatch.setattr(Slots, "_park", note)
            slots.push([*(attempt() for _ in range(100)), attempt("last")])
            await finished.wait()
            await anyio.wait_all_tasks_blocked()
            group.cancel_scope.cancel()

    assert len(parked) == 2


async def test_slots_with_nothing_to_do_all_begin_within_a_few_turns_where_calls_wait():
    async def run(each: Attempt) -> None:
        if each.delivery.task_id == "wait":
            await anyio.sleep_forever()
        each.ending = Returned(Raw())

    with anyio.fail_after(60):
        async with create_task_group() as group:
            slots = Slots(group, 32, run, lambda _: None)
            slots.push([attempt() for _ in range(32)])
            await anyio.wait_all_tasks_blocked()
            slots.push([attempt("wait") for _ in range(40)])
            for _ in range(10):
                await anyio.lowlevel.checkpoint()
            running = len(slots.running)
            group.cancel_scope.cancel()

    assert running == 32


async def test_slots_that_are_cancelled_make_no_new_ones():
    begun = anyio.Event()
    ran = []

    async def run(each: Attempt) -> None:
        ran.append(each)
        begun.set()
        await anyio.sleep_forever()

    with anyio.fail_after(60):
        async with create_task_group() as group:
            slots = Slots(group, 2, run, lambda _: None)
            slots.push([attempt(str(n)) for n in range(20)])
            await begun.wait()
            group.cancel_scope.cancel()

    assert len(ran) <= 2
    assert len(slots.queue) == 20 - len(ran)
