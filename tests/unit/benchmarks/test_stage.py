from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace

import pytest

from benchmarks.arguments import arguments
from benchmarks.peers import stage, work
from benchmarks.peers.queue import Queue


class Plain(Queue):
    """A queue as plain as it gets."""

    async def open(self) -> None:
        self._calls = asyncio.Queue()
        self._tasks = {task.__name__: task for task in work.COROUTINES}

    async def send(self, name, *args):
        await self._calls.put((name, args, asyncio.get_running_loop().create_future()))

    async def ask(self, name, *args):
        answer = asyncio.get_running_loop().create_future()
        await self._calls.put((name, args, answer))
        return await answer

    async def work(self) -> None:
        while True:
            name, args, answer = await self._calls.get()
            answer.set_result(await self._tasks[name](*args))


def done(errand, **job):
    job = SimpleNamespace(
        **{"server": 0, "task": "noop", "nap": 0.0, "count": 40, "seconds": 60.0, **job}
    )

    async def run():
        queue = Plain("", 1)
        await queue.open()
        if errand is stage.soak:
            await stage.fill(queue, job)
        if errand is not stage.echo:
            return await errand(queue, job)
        async with stage._working(queue):
            return await errand(queue, job)

    return asyncio.run(run())


@pytest.mark.parametrize("task", ["noop", "plain", "nap", "spin", "plain_spin", "blob"])
def test_each_task_is_drained(task):
    figures = done(stage.drain, task=task, nap=0.0001)
    assert figures["drain"] > 0
    assert work.TALLY.ran() == 40


def test_the_memory_of_a_worker_is_told():
    figures = done(stage.soak)
    assert figures["rss growth"] == figures["rss end"] - figures["rss quarter"]


def test_calls_are_timed():
    figures = done(stage.echo, count=2, pauses=[0, 0])
    assert figures["calls timed"] == 2
    assert figures["latency p50"] >= figures["wake-up p50"] > 0


def test_what_is_no_coroutine_runs_in_a_thread_of_its_own():
    run = work.coroutine(threading.get_ident)
    assert asyncio.run(run()) != threading.get_ident()
    assert work.coroutine(work.noop) is work.noop


def test_the_first_one_that_is_stranded_never_ends(tmp_path):
    marks = tmp_path / "marks"
    assert work._note_begin(str(marks))
    assert not work._note_begin(str(marks))
    assert len(marks.read_text().splitlines()) == 2


def test_tasks_are_called_with_what_they_take():
    assert arguments("noop", 1.0) == arguments("fail", 1.0) == ()
    assert arguments("spin", 0.5) == (0.5,)
    assert [len(one) for one in arguments("blob", 0)] == [10_240]
