"""The life of a worker as its log tells it, step by step."""

from __future__ import annotations

import logging
import re

import anyio
from anyio import Event

from chicory import Chicory, Worker

STEPS_IN = [
    r"worker W: starting",
    r"worker W: connected to memory://",
    r"worker W: 1 tasks known, consuming default, 2 at once",
]
FIRST_BEAT = r"worker W: first heartbeat sent, one every 10 s"
STEPS_OUT = [
    r"worker W: consumes no more, waits for 1 tasks",
    r"worker W: no task runs any more",
    r"worker W: last heartbeat sent: stopped",
    r"worker W: connections closed",
    r"worker W: stopped after 1 tasks, 0 of them failed",
]


def informed(log, worker: Worker) -> list[str]:
    return [line.replace(worker.worker_id, "W") for line in log.lines]


def in_order(steps: list[str], lines: list[str]) -> bool:
    rest = iter(lines)
    return all(any(re.match(step, line) for line in rest) for step in steps)


async def test_each_step_is_one_line(app, working, log):
    logging.getLogger("chicory").setLevel(logging.INFO)
    begun, gate = Event(), Event()

    @app.task(name="hold")
    async def hold() -> None:
        begun.set()
        await gate.wait()

    async with working(concurrency=2) as worker:
        await log.heard("first heartbeat")
        await hold.send()
        await begun.wait()
        async with anyio.create_task_group() as group:
            group.start_soon(worker.stop)
            await log.heard("consumes no more")
            gate.set()

    lines = informed(log, worker)
    assert in_order([*STEPS_IN, *STEPS_OUT], lines), lines
    assert in_order([STEPS_IN[0], FIRST_BEAT, STEPS_OUT[0]], lines), lines
    assert len(lines) == len(STEPS_IN) + 1 + len(STEPS_OUT)


async def test_what_is_given_back_at_the_end_is_told_and_is_no_failure(app, working, log):
    begun = Event()

    @app.task(name="hold")
    async def hold() -> None:
        begun.set()
        await anyio.sleep_forever()

    async with working() as worker:
        await hold.send()
        await begun.wait()
        await worker.stop(timeout=0)
        stats = worker.get_stats()
        size = await app.broker.get_queue_size()
        last = await app.backend.get_heartbeat(worker.worker_id)

    steps = [
        "worker W: consumes no more, waits for 1 tasks",
        "giving back 1 tasks that did not finish within 0 s",
        "worker W: last heartbeat sent: stopped",
        "worker W: stopped after 0 tasks, 0 of them failed",
    ]
    assert in_order(steps, informed(log, worker))
    assert (stats.tasks_processed, stats.tasks_failed, size) == (0, 0, 1)
    assert last is not None
    assert (last.status, last.tasks_failed) == ("stopped", 0)
    assert await app.backend.get_active_workers() == []


async def test_two_servers_are_two_connections(url, clock, working, log):
    async with (
        Chicory(url, f"{url}-results", clock=clock) as app,
        working(on=app) as worker,
    ):
        ...

    lines = informed(log, worker)
    steps = [f"worker W: connected to {url}", f"worker W: connected to {url}-results"]
    assert in_order(steps, lines)
