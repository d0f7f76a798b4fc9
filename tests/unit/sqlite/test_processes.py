"""Many processes on one file, some of them killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from contextlib import ExitStack, contextmanager

import pytest
from anyio import Event, fail_after

from chicory.clock import SystemClock
from chicory.transport import Publication

PRELUDE = """
import sys, os, json, anyio
from chicory.transport import Done, Publication, Record, TransportSettings
from chicory_sqlite import SQLiteTransport
def say(*words): print(json.dumps(words), flush=True)
def run(main):
    async def opened():
        async with SQLiteTransport(TransportSettings(url=sys.argv[1], lease=600)) as transport:
            await main(transport)
    anyio.run(opened)
"""

PUBLISH = """
async def main(transport):
    for number in range(int(sys.argv[3])):
        name = f"{sys.argv[2]}-{number}"
        await transport.publish([Publication("q", name, b"x" * 100)])
        say("published", name)
run(main)
"""

CONSUME = """
async def main(transport):
    while True:
        for each in await transport.fetch(["q", *sys.argv[2:]], 7, 30):
            if each.body == b"stop":
                return
            record = Record(each.task_id, b"r", 60)
            follow_up = Publication("next", each.task_id, b"")
            say("begun", each.task_id)
            await transport.settle([Done(each.receipt, record, (follow_up,))])
            say("settled", each.task_id)
run(main)
"""

ANSWER = """
async def main(transport):
    say("ready")
    (each,) = await transport.fetch(["q"], 1, 30)
    await transport.settle([Done(each.receipt, Record(each.task_id, b"answer", 60))])
run(main)
"""

SETTLE_AND_DIE = """
import signal
from chicory.transport import Dead, DeadLetter, Retry
from chicory_sqlite.session import Session
left = 0
def deadly(name, method):
    def step(self, *arguments):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return method(self, *arguments)
    setattr(Session, name, step)
for name in ("begin", "run", "row", "commit"):
    deadly(name, getattr(Session, name))
async def main(transport):
    global left
    done, dead, retry = await transport.fetch(["q"], 3, 0)
    record = lambda each: Record(each.task_id, b"r", 60)
    more = lambda each: (Publication("next", each.task_id + "+", b""),)
    letter = DeadLetter("L", "q", dead.task_id, b"", "why", "error", 0, 0.0)
    again = Publication("again", retry.task_id, b"")
    left = int(sys.argv[2])
    await transport.settle([
        Done(done.receipt, record(done), more(done)),
        Dead(dead.receipt, letter, record(dead), more(dead)),
        Retry(retry.receipt, again, record(retry), more(retry)),
    ])
    say("settled", "all")
run(main)
"""

pytestmark = pytest.mark.parametrize("anyio_backend", ["asyncio"])


@pytest.fixture
def clock():
    return SystemClock()


@contextmanager
def process(script, path, *arguments):
    command = [sys.executable, "-c", PRELUDE + script, f"sqlite:///{path}", *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as started:
        try:
            yield started
        finally:
            started.kill()


def said(started, verb) -> list[str]:
    """What the process did, up to its end."""
    lines = [json.loads(line) for line in started.stdout if line.endswith(b"\n")]
    return [name for what, name in lines if what == verb]


def kill_after(started, lines) -> list[tuple[str, str]]:
    """What it had said when it was killed, in the middle of what it did next."""
    heard = [json.loads(started.stdout.readline()) for _ in range(lines)]
    os.kill(started.pid, signal.SIGKILL)
    return heard + [json.loads(line) for line in started.stdout if line.endswith(b"\n")]


async def test_a_waiting_fetch_and_a_watcher_are_woken_across_processes(make, path, anyio_backend):
    heard, answers = Event(), []
    async with make() as transport:
        await transport.watch(["1"], lambda *answer: (answers.append(answer), heard.set()))
        with process(ANSWER, path) as other:
            assert json.loads(other.stdout.readline()) == ["ready"]
            await transport.publish([Publication("q", "1", b"")])
            with fail_after(60):
                await heard.wait()

    assert answers == [("1", b"answer")]


@pytest.mark.slow
async def test_each_message_is_settled_once_by_concurrent_processes(make, path, anyio_backend):
    each = 150
    with ExitStack() as stack:
        publishers = [stack.enter_context(process(PUBLISH, path, n, each)) for n in range(2)]
        consumers = [stack.enter_context(process(CONSUME, path, f"stop{n}")) for n in range(2)]
        published = [name for publisher in publishers for name in said(publisher, "published")]
        async with make() as transport:
            await transport.publish(
                [Publication(f"stop{n}", f"stop{n}", b"stop") for n in range(2)]
            )
        settled = Counter(name for consumer in consumers for name in said(consumer, "settled"))

    assert settled == Counter(published)
    assert len(published) == 2 * each


@pytest.mark.slow
@pytest.mark.faults
@pytest.mark.parametrize("after", [1, 20, 77])
async def test_a_publisher_killed_loses_nothing_it_was_told_is_stored(
    make, path, after, anyio_backend
):
    with process(PUBLISH, path, "p", 10**6) as publisher:
        told = [name for _, name in kill_after(publisher, after)]

    async with make() as transport:
        stored = [each.task_id for each in await transport.fetch(["q"], 10**6, 0)]
    assert stored[: len(told)] == told
    assert len(stored) - len(told) in {0, 1}


@pytest.mark.slow
@pytest.mark.faults
@pytest.mark.parametrize("after", [1, 3, 19, 45, 77])
async def test_a_consumer_killed_leaves_each_message_settled_whole_or_not(
    make, path, after, anyio_backend
):
    names = {str(number) for number in range(500)}
    async with make() as transport:
        await transport.publish([Publication("q", name, b"") for name in sorted(names)])
        with process(CONSUME, path) as consumer:
            heard = kill_after(consumer, after)
            told = {name for what, name in heard if what == "settled"}

        counts = await transport.counts()
        done = {each.task_id for each in await transport.fetch(["next"], 1000, 0)}
        standings = await transport.look_up(sorted(names))
        recorded = {
            name
            for name, standing in zip(sorted(names), standings, strict=True)
            if standing.record == b"r"
        }
        queued = counts["q"].ready + counts["q"].leased
    assert told <= done == recorded
    assert queued + len(done) == len(names)
    assert len(done) - len(told) in {0, 1}


@pytest.mark.slow
@pytest.mark.faults
@pytest.mark.parametrize("step", range(1, 16))
async def test_a_settlement_killed_at_any_statement_is_whole_or_not_begun(
    make, path, step, anyio_backend
):
    async with make() as transport:
        await transport.publish([Publication("q", name, b"") for name in ("1", "2", "3")])
        with process(SETTLE_AND_DIE, path, step) as settler:
            settled = said(settler, "settled")

        counts = await transport.counts(["q", "next", "again"])
        records = [each.record for each in await transport.look_up(["1", "2", "3"])]
    queued = counts["q"].leased, counts["q"].dead, counts["next"].ready, counts["again"].ready
    if queued == (3, 0, 0, 0):
        assert records == [None] * 3
        assert settled == []
    else:
        assert queued == (0, 1, 3, 1)
        assert records == [b"r"] * 3
