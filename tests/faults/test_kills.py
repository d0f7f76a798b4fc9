"""Workers killed with SIGKILL: nothing is lost, each call has one outcome."""

from __future__ import annotations

from itertools import pairwise

import anyio
import pytest

from chicory import TaskError, TaskState
from chicory.transport import Counts

LEASE = 2.0
EMPTY = Counts()
RESCUE = LEASE + 4
"""Seconds until a rescued call runs again: the lease, and what a crowded machine needs."""


SETTINGS = {"worker_concurrency": 4, "worker_max_crashes": 50}


async def kill_some(fleet, chance, kind: str, longest: float, kills: int) -> None:
    """Kill and replace workers at random moments while calls are enqueued."""
    enough = anyio.Event()
    fleet.start(3, **SETTINGS)
    async with anyio.create_task_group() as group:
        group.start_soon(fleet.produce, kind, longest, chance, enough)
        for _ in range(kills):
            more = chance.randrange(1, 30)
            await fleet.ledger.has("started", len(fleet.ledger.of("started")) + more)
            fleet.kill(chance.choice(fleet.workers))
            fleet.start(1, **SETTINGS)
        enough.set()


@pytest.mark.parametrize("kind", ["work", "work_in_thread"])
async def test_workers_killed_at_random_lose_nothing_and_run_nothing_twice_without_need(
    fleet, chance, kind
):
    with anyio.fail_after(60):
        await kill_some(fleet, chance, kind, 0.05, kills=8)
        pids = await fleet.app.gather(fleet.handles.values())
        counts = (await fleet.app.broker.counts(["default"]))["default"]

    started, finished = fleet.ledger.by_key("started"), fleet.ledger.by_key("finished")
    assert set(started) == set(fleet.handles)
    assert (counts.ready, counts.leased, counts.delayed, counts.dead) == (0, 0, 0, 0)
    for key, pid in zip(fleet.handles, pids, strict=True):
        assert pid in {entry.pid for entry in finished[key]}
        for entry, following in pairwise(started[key]):
            assert entry.pid in fleet.killed, f"{key} was run again although its worker lived"
            begin, end = fleet.killed[entry.pid], following.at
            # whoever fetched it in between may have been killed before it began
            deaths = sum(begin <= at <= end for at in fleet.killed.values())
            assert end - begin < RESCUE * deaths


async def test_calls_at_most_once_are_run_at_most_once_whoever_is_killed(fleet, chance):
    kills = 6
    with anyio.fail_after(60):
        await kill_some(fleet, chance, "work_once", 0.03, kills=kills)
        # what was held when its worker died is delivered again when its lease has run out
        await fleet.ledger.until(
            lambda ledger: len(ledger.of("started")) > len(fleet.handles) - 4 * kills
        )
        while (await fleet.app.broker.counts(["default"]))["default"] != EMPTY:
            await anyio.lowlevel.checkpoint()
        for worker in fleet.workers:
            worker.terminate()
            await anyio.to_thread.run_sync(worker.wait)
        states = [await handle.state() for handle in fleet.handles.values()]

    started, finished = fleet.ledger.counted("started"), fleet.ledger.counted("finished")
    assert set(started.values()) == {1}
    assert len(fleet.handles) - 4 * kills <= states.count(TaskState.SUCCESS) <= len(finished)


async def test_a_task_that_kills_its_workers_is_put_aside_and_harms_no_other(fleet):
    settings = {"worker_concurrency": 4, "worker_max_crashes": 3}
    deadly = await fleet.task("deadly").delay("deadly")
    handles = [await fleet.task("work").delay(str(number), 0.02) for number in range(60)]

    async def keep_up(group) -> None:
        """Start a worker for each that dies."""
        for worker in fleet.start(1, **settings):
            group.start_soon(replace, group, worker)

    async def replace(group, worker) -> None:
        await anyio.to_thread.run_sync(worker.wait, abandon_on_cancel=True)
        fleet.workers.remove(worker)
        fleet.bury(worker)
        await keep_up(group)

    with anyio.fail_after(60):
        async with anyio.create_task_group() as group:
            await keep_up(group)
            await keep_up(group)
            await fleet.app.gather(handles)
            with pytest.raises(TaskError, match="its worker died, or lost its lease, 3 times"):
                await deadly.get()
            letters = await fleet.app.broker.get_dlq_messages()
            group.cancel_scope.cancel()

    assert [(letter.message_id, letter.reason) for letter in letters] == [
        (deadly.task_id, "crashed")
    ]
    assert fleet.ledger.counted("started")["deadly"] == 3
    assert len(fleet.killed) == 3
    assert [await handle.state() for handle in handles] == [TaskState.SUCCESS] * 60
