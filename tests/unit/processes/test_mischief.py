"""Processes in which tasks do what they should not: only their own call suffers."""

from __future__ import annotations

import os
import signal
import socket
from typing import Any

import anyio
import msgspec
import pytest
from vital import crew_of, until_gone

from chicory import TaskError
from chicory.processes import wire
from chicory.processes.child import CHUNK, Child


@pytest.fixture
def heard(monkeypatch):
    """What workers hear from their processes."""
    heard: list[wire.Answer] = []
    hear = Child._hear

    def listen(child: Child, said: wire.Answer) -> None:
        heard.append(said)
        hear(child, said)

    monkeypatch.setattr(Child, "_hear", listen)
    return heard


async def test_of_a_task_that_forks_one_answers_and_takes_the_next_call(crafts, working):
    async with working(processes=1):
        pid = await (await crafts.pid.delay()).get()
        forked = [await (await crafts.fork.delay()).get() for _ in range(3)]
        after = {await (await crafts.pid.delay()).get() for _ in range(100)}

    assert forked == [pid] * 3
    assert after == {pid}


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
async def test_a_fork_of_the_worker_has_no_hold_on_its_processes(crafts, working):
    told, said = os.pipe()
    async with working(processes=1) as worker:
        pid = await (await crafts.pid.delay()).get()
        (child,) = crew_of(worker)._children
        holds = [child._life, child._line.fileno()]
        fork = os.fork()
        if not fork:
            os.write(said, bytes([sum(map(_is_open, holds))]))
            os._exit(0)
        after = await (await crafts.pid.delay()).get()

    assert os.read(told, 1) == b"\0"
    assert after == pid
    os.waitpid(fork, 0)  # noqa: ASYNC222  (it has ended)


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


async def test_a_fork_can_be_ended_by_a_signal(crafts, working):
    async with working(processes=1):
        assert await (await crafts.end_a_fork.delay()).get() == -signal.SIGTERM


async def test_what_a_fork_says_does_not_get_in_between_what_its_process_says(
    crafts, working, heard, log, capfd
):
    async with working(processes=1):
        assert await (await crafts.log_in_a_fork.delay()).get() == 5

    assert not [said for said in heard if isinstance(said, wire.Line | wire.Report)]
    assert "INFO:chicory.crafts:of a fork" in capfd.readouterr().err


async def test_what_cannot_be_understood_ends_the_process_and_not_the_worker(crafts, working):
    async with working(processes=1):
        with pytest.raises(TaskError, match="its process said what its worker does not understand"):
            await (await crafts.write_to_all.delay()).get()
        assert await (await crafts.pid.delay()).get()


async def test_why_arguments_do_not_fit_is_told_also_where_it_cannot_be_encoded(crafts, working):
    async with working(processes=1):
        pid = await (await crafts.pid.delay()).get()
        with pytest.raises(TaskError, match=r"argument 'shy': Shy: leave me\\udc80"):
            await (await crafts.meet.delay(crafts.Shy())).get()
        assert await (await crafts.pid.delay()).get() == pid


class Cut:
    """A line that sends half of a frame: then the handler of a signal raises."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line

    def __getattr__(self, name: str) -> Any:
        return getattr(self._line, name)

    def send(self, frame: memoryview) -> int:
        self._line.send(frame[: len(frame) // 2])
        raise InterruptedError


async def test_a_process_that_was_told_half_a_call_is_replaced(crafts, working):
    async with working(processes=1) as worker:
        first = await (await crafts.pid.delay()).get()
        (child,) = crew_of(worker)._children
        child._line = Cut(child._line)
        with anyio.fail_after(60), pytest.raises(TaskError, match="its process was ended"):
            await (await crafts.pid.delay()).get()
        second = await (await crafts.pid.delay()).get()

    assert second != first


async def test_a_log_line_that_cannot_be_delivered_ends_nothing(crafts, working, log):
    async with working(processes=1):
        pid = await (await crafts.pid.delay()).get()
        await (await crafts.log_oddly.delay()).get()
        assert await (await crafts.pid.delay()).get() == pid

    assert log.find("is lost")


async def test_a_process_that_says_more_and_more_does_not_keep_the_event_loop(monkeypatch):
    child = Child()
    said = wire.frame(wire.Line(msgspec.msgpack.encode("x" * CHUNK)))
    heard: list[wire.Line] = []

    def say_more(line: wire.Line) -> None:
        heard.append(line)
        if len(heard) < 1000:
            child._theirs.sendall(said)

    monkeypatch.setattr("chicory.processes.child.deliver", say_more)
    child._theirs.sendall(said)
    turns = 0
    while not heard:
        child._take_in()
        turns += 1
    child._theirs.close()
    os.close(child._end)
    child.bury()

    assert turns == 2
    assert len(heard) == 1


async def test_a_thread_of_an_earlier_call_does_not_report_the_progress_of_the_next(
    crafts, working, log, gate, heard
):
    async with working(processes=1):
        await (await crafts.report_later.delay(gate.path)).get()
        handle = await crafts.pid.delay(gate.path)
        await log.heard("begun", 2)
        await anyio.to_thread.run_sync(gate.open)
        await handle.get()
        await log.heard("reported")

    assert not [said for said in heard if isinstance(said, wire.Report)]


async def test_a_result_that_is_too_large_is_refused_before_it_travels(crafts, working, heard):
    async with working():
        with pytest.raises(TaskError, match=r"its result has 2,\d{3},\d{3} bytes, the limit is 1,"):
            await (await crafts.blob.delay(2_000_000)).get()

    assert not [said for said in heard if isinstance(said, wire.Value)]


async def test_a_bloated_process_ends_although_a_task_has_left_a_thread_in_it(crafts, working):
    async with working(processes=1):
        first = await (await crafts.leak_with_a_thread.delay()).get()
        second = await (await crafts.leak.delay(1)).get()
        await until_gone(first)

    assert second != first


async def test_a_process_that_was_started_for_a_cancelled_call_is_for_the_next(crafts, working):
    async with working(processes=1) as worker:
        crew = crew_of(worker)
        for _ in range(3):
            with anyio.CancelScope() as scope:
                scope.cancel()
                await crew.hire()
        child = await crew.hire()
        pids = crew.pids
        crew.dismiss(child)

    assert pids == [child.pid]


async def test_calls_that_end_while_a_process_starts_do_not_each_start_one(crafts, working):
    async with working(processes=2) as worker:
        crew = crew_of(worker)
        child = await crew.hire()
        async with anyio.create_task_group() as group:
            for _ in range(5):
                hired = group.create_task(crew.hire())
                while not crew._waiting:
                    await anyio.lowlevel.checkpoint()
                crew.dismiss(child)
                assert await hired is child
        started = len(crew.pids)

    assert started == 2
