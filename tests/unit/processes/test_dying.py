"""Processes that die, or are killed: one attempt fails of it, and nothing else does."""

from __future__ import annotations

import errno
import os
import signal
from pathlib import Path

import anyio
import pytest
from vital import crew_of, is_gone, until_gone

from chicory import TaskError, TaskState
from chicory.errors import TaskCancelledError
from chicory.processes.child import Child
from chicory.processes.crew import Crew

DIED = "chicory.errors.ProcessDiedError"
ENDS = {
    "SIGSEGV": "its process was ended by SIGSEGV",
    "SIGABRT": "its process was ended by SIGABRT",
    "SIGKILL": "its process was ended by SIGKILL: by the system, if memory ran out",
    "status": "its process exited with status 3",
    "orphan": "its process exited with status 4",
}


@pytest.mark.parametrize("how", ENDS)
async def test_a_death_is_one_failed_attempt_that_says_why_and_the_process_is_replaced(
    crafts, working, how
):
    async with working(processes=1) as worker:
        before = await (await crafts.pid.delay()).get()
        with pytest.raises(TaskError) as caught:
            await (await crafts.die.delay(how)).get()
        after = await (await crafts.pid.delay()).get()
        pids = crew_of(worker).pids
        failed = worker.get_stats().tasks_failed

    assert caught.value.type_name == DIED
    assert caught.value.message == f"{crafts.die.name}: {ENDS[how]}"
    assert pids == [after]
    assert before != after
    assert failed == 1


async def test_a_task_that_closes_what_is_not_its_own_does_not_wait_for_ever(crafts, working):
    async with working():
        with pytest.raises(TaskError, match="its process was ended by SIGKILL"):
            await (await crafts.die.delay("deaf")).get()


@pytest.mark.parametrize("how", ["SIGSEGV", "status"])
async def test_a_death_is_retried_as_the_policy_says(crafts, working, how):
    async with working():
        assert await (await crafts.die_once.delay(how)).get() == 1


async def test_what_runs_at_most_once_has_failed_with_its_process(crafts, working):
    async with working():
        handle = await crafts.die_at_most_once.delay("SIGSEGV")
        with pytest.raises(TaskError, match="ended by SIGSEGV"):
            await handle.get()

    assert await handle.state() is TaskState.FAILURE


async def test_the_others_go_on(crafts, working, log, gate):
    async with working(processes=2):
        other = await crafts.pid.delay(gate.path)
        _, pid = await log.heard("begun")
        with pytest.raises(TaskError, match="SIGSEGV"):
            await (await crafts.die.delay("SIGSEGV")).get()
        await anyio.to_thread.run_sync(gate.open)
        assert await other.get() == int(pid)


async def test_one_that_dies_while_it_waits_is_replaced_and_nothing_fails(crafts, working):
    async with working(processes=1) as worker:
        first = await (await crafts.pid.delay()).get()
        os.kill(first, signal.SIGKILL)
        await until_gone(first)
        second = await (await crafts.pid.delay()).get()
        failed = worker.get_stats().tasks_failed

    assert second != first
    assert failed == 0


async def test_a_time_limit_kills_it_and_what_it_has_started(crafts, working, log):
    async with working():
        handle = await crafts.hang.delay()
        _, pid, other = await log.heard("begun")
        with pytest.raises(TaskError, match=r"ran longer than its limit of 0.2 s"):
            await handle.get()
        await until_gone(int(pid))
        await until_gone(int(other))


async def test_a_time_limit_does_not_count_the_start_of_the_process(crafts, working):
    async with working():  # which takes longer than a hundredth of a second
        assert await (await crafts.pid.options(timeout=5).delay()).get()


async def test_cancelling_kills_it(crafts, working, log):
    async with working():
        handle = await crafts.hang_on.delay()
        _, pid = await log.heard("begun")
        await handle.cancel()
        with pytest.raises(TaskCancelledError):
            await handle.get()
        await until_gone(int(pid))
        assert await (await crafts.pid.delay()).get() != int(pid)


# -- memory -------------------------------------------------------------------------------


async def test_too_much_memory_kills_it_and_says_so(crafts, working):
    async with working():
        with pytest.raises(TaskError) as caught:
            await (await crafts.eat.delay(10_000)).get()
        assert await (await crafts.eat.delay(10)).get()

    assert caught.value.message.endswith("its process went over its memory limit of 150 MiB")


async def test_a_limit_of_the_worker_holds_for_tasks_without_one(crafts, working):
    async with working(max_process_memory=120):
        with pytest.raises(TaskError, match="went over its memory limit of 120 MiB"):
            await (await crafts.eat_freely.delay(10_000)).get()


async def test_calls_one_after_the_other_are_all_weighed_by_the_same(crafts, working, monkeypatch):
    begun: list[Crew] = []
    weigh = Crew._weigh

    async def counted(crew: Crew) -> None:
        begun.append(crew)
        await weigh(crew)

    monkeypatch.setattr(Crew, "_weigh", counted)
    monkeypatch.setattr("chicory.processes.crew.WEIGHING", 3600)
    async with working(processes=1):
        for _ in range(3):
            await (await crafts.eat.delay(1)).get()

    assert len(begun) == 1


async def test_memory_is_looked_at_again_after_a_time_without_limits(crafts, working):
    async with working() as worker:
        await (await crafts.eat.delay(1)).get()
        while crew_of(worker)._is_weighing:
            await anyio.lowlevel.checkpoint()
        with pytest.raises(TaskError, match="over its memory limit of 150 MiB"):
            await (await crafts.eat.delay(10_000)).get()


async def test_what_one_call_leaves_behind_is_not_held_against_the_next(crafts, working):
    async with working(processes=1):
        first = await (await crafts.leak.delay(1)).get()
        second = await (await crafts.leak.delay(70)).get()
        third = await (await crafts.leak.delay(1)).get()

    assert first == second
    assert third != second


# -- where none can be started ------------------------------------------------------------


async def test_a_process_that_cannot_be_started_fails_the_attempt(crafts, working, monkeypatch):
    monkeypatch.setattr("sys.executable", "/no/such/python")
    async with working():
        with pytest.raises(TaskError, match=r"its process cannot be started: .*No such file"):
            await (await crafts.pid.delay()).get()


def none_left(*_: object) -> None:
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


async def test_a_process_for_which_no_descriptor_is_left_fails_the_attempt_and_no_more(
    crafts, working, monkeypatch
):
    monkeypatch.setattr("chicory.processes.crew.Child", none_left)
    async with working() as worker:
        with pytest.raises(TaskError, match=r"its process cannot be started: .*Too many open"):
            await (await crafts.pid.delay()).get()
        monkeypatch.undo()
        pids = crew_of(worker).pids
        assert worker.get_stats().is_running

    assert pids == []


async def test_a_first_word_that_cannot_be_said_fails_the_attempt_and_no_more(
    crafts, working, monkeypatch
):
    monkeypatch.setattr("chicory.processes.crew.levels", lambda: {"\udcff": 10})
    async with working() as worker:
        with pytest.raises(TaskError, match=r"its process cannot be started: .*surrogates"):
            await (await crafts.pid.delay()).get()
        assert worker.get_stats().is_running


@pytest.fixture
def open_ones():
    """Says which descriptors this process has open."""
    here = Path("/proc/self/fd")
    if not here.exists():
        pytest.skip("there is no /proc here")
    return lambda: sorted(here.iterdir())


@pytest.mark.parametrize("name", ["os.pipe", "socket.socketpair"])
async def test_a_process_for_which_no_descriptor_is_left_keeps_none(monkeypatch, open_ones, name):
    before = open_ones()
    with monkeypatch.context() as patched:
        patched.setattr(name, none_left)
        with pytest.raises(OSError, match="Too many") as caught:
            Child()
    after = open_ones()  # while the error holds what it was about

    assert caught.value.errno == errno.EMFILE
    assert after == before


async def test_a_process_that_was_never_started_leaves_no_descriptor(open_ones):
    before = open_ones()
    child = Child()
    child.bury()
    after = open_ones()

    assert after == before
    assert child.gone.is_set()


async def test_a_process_that_dies_before_it_is_ready_fails_the_attempt(
    crafts, working, monkeypatch
):
    monkeypatch.setattr("sys.executable", "/bin/false")
    async with working() as worker:
        with pytest.raises(TaskError, match="exited with status 1 before it was ready"):
            await (await crafts.pid.delay()).get()
        monkeypatch.undo()
        pids = crew_of(worker).pids

    assert pids == []


async def test_a_process_that_never_gets_ready_is_killed(crafts, working, monkeypatch, tmp_path):
    path = tmp_path / f"{crafts.__name__}.py"
    path.write_text(path.read_text() + "\nif IN_PROCESS:\n    threading.Event().wait()\n")
    monkeypatch.setattr("chicory.processes.crew.GETTING_READY", 0.1)
    async with working():
        with pytest.raises(TaskError, match=r"its process was not ready within 0.1 s"):
            await (await crafts.pid.delay()).get()


# -- the end of the worker ----------------------------------------------------------------


async def test_a_worker_that_stops_waits_for_what_runs_in_processes(crafts, log, gate, working):
    async with working() as worker:
        handle = await crafts.pid.delay(gate.path)
        _, pid = await log.heard("begun")
        async with anyio.create_task_group() as group:
            group.start_soon(worker.stop)
            await log.heard("waits for 1 tasks")
            await anyio.to_thread.run_sync(gate.open)

    assert await handle.get() == int(pid)
    assert is_gone(int(pid))


async def test_what_does_not_end_in_time_is_killed_and_given_back_uncounted(crafts, log, working):
    async with working() as worker:
        handle = await crafts.hang_on.delay()
        _, pid = await log.heard("begun")
        await worker.stop(timeout=0)
        (delivery,) = await (await crafts.app.broker_link.session()).transport.fetch(
            ["default"], 2, 0
        )

    assert is_gone(int(pid))
    assert delivery.task_id == handle.task_id
    assert delivery.deliveries == 1
    assert worker.get_stats().tasks_failed == 0


async def test_a_stopped_worker_leaves_no_process_behind(crafts, working, log, gate):
    async with working(processes=2) as worker:
        handles = [await crafts.pid.delay(gate.path) for _ in range(2)]
        await log.heard("begun", 2)
        await anyio.to_thread.run_sync(gate.open)
        pids = [await handle.get() for handle in handles]
        await worker.stop()

        for pid in pids:  # not even a zombie
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)


async def test_a_process_that_does_not_end_with_its_worker_is_killed(
    crafts, working, monkeypatch, tmp_path
):
    monkeypatch.setattr("chicory.processes.crew.GRACE", 0.1)
    path = tmp_path / f"{crafts.__name__}.py"
    stuck = "\nif IN_PROCESS:\n    threading.Thread(target=threading.Event().wait).start()\n"
    path.write_text(path.read_text() + stuck)
    async with working() as worker:
        pid = await (await crafts.pid.delay()).get()
        await worker.stop()

        assert is_gone(pid)
