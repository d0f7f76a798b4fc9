"""Dozens of processes that die in every way among good calls, and nothing is left of them."""

import os
import threading
from pathlib import Path

import anyio
import pytest

from chicory import TaskError, Worker, WorkerConfig

pytestmark = pytest.mark.slow

ROUNDS = 4
PATIENCE = 600
DEATHS = {
    "SIGSEGV": "ended by SIGSEGV",
    "SIGKILL": "ended by SIGKILL",
    "SIGABRT": "ended by SIGABRT",
    "status": "exited with status 3",
    "orphan": "exited with status 4",
}


def children() -> set[int]:
    """The processes that this one has started, zombies included."""
    found: set[int] = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = stat.read_text().rpartition(")")[2].split()[1]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(parent) == os.getpid():
            found.add(int(stat.parent.name))
    return found


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def attrition(crafts, rounds: int) -> None:
    """Deaths, kills and good calls, all at once; each comes to its own end."""
    deaths = [crafts.die.call(how) for how in DEATHS] * rounds
    killed = [crafts.hang.call(), crafts.eat.call(400)] * (rounds // 4)
    good = [crafts.size.call(bytes([n % 256]) * n) for n in range(8 * rounds)]
    calls = sorted([*deaths, *killed, *good], key=lambda call: hash((call.name, id(call))))
    handles = await crafts.app.enqueue_many(calls)
    reasons = {"hang": "ran longer than its limit", "eat": "over its memory limit of 150 MiB"}
    for call, handle in zip(calls, handles, strict=True):
        kind = call.name.rpartition(".")[2]
        if kind == "size":
            assert await handle.get() == call.args[0][::-1]
        else:
            with pytest.raises((TaskError, TimeoutError)) as caught:
                await handle.get()
            assert (DEATHS[call.args[0]] if kind == "die" else reasons[kind]) in str(caught.value)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="there is no /proc here")
async def test_of_dozens_of_dying_processes_nothing_is_left(crafts):
    others = children()
    config = WorkerConfig(processes=4, concurrency=16)
    with anyio.fail_after(PATIENCE):
        async with Worker(crafts.app, config):
            await attrition(crafts, 1)  # what is made once
        before = descriptors()
        async with Worker(crafts.app, config) as worker:
            await attrition(crafts, ROUNDS)
            assert len(children() - others) <= 8  # those that wait, and those that replace others
            assert worker.get_stats().active_tasks == 0
            assert threading.active_count() < 24

    assert children() <= others
    assert descriptors() <= before
