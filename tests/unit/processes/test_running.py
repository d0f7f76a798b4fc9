"""Tasks in processes of their own: what they are given, and what comes back."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import anyio
import pytest
from vital import crew_of

from chicory import RetryPolicy, TaskError, TaskMessage, TaskState
from chicory.logs import LABELS


async def test_a_task_runs_in_a_process_that_is_kept_for_the_next_one(crafts, working):
    async with working(processes=1):
        pids = [await (await crafts.pid.delay()).get() for _ in range(3)]
        mine = await (await crafts.here.delay()).get()

    assert mine == os.getpid()
    assert len(set(pids)) == 1
    assert mine not in pids


async def test_no_process_is_started_before_a_task_needs_one(crafts, working):
    async with working() as worker:
        await (await crafts.here.delay()).get()
        before = crew_of(worker).pids
        await (await crafts.pid.delay()).get()
        after = crew_of(worker).pids

    assert before == []
    assert len(after) == 1


async def test_as_many_processes_run_at_once_as_are_allowed(crafts, working, log, gate):
    async with working(processes=2):
        handles = [await crafts.pid.delay(gate.path) for _ in range(2)]
        await log.heard("begun", 2)
        await anyio.to_thread.run_sync(gate.open)
        pids = {await handle.get() for handle in handles}

    assert len(pids) == 2


async def test_a_coroutine_runs_on_one_asyncio_loop_of_its_process(crafts, working):
    async with working(processes=1):
        pid = await (await crafts.pid.delay()).get()
        found = [await (await crafts.library.delay()).get() for _ in range(2)]

    assert found == [("asyncio", pid)] * 2


async def test_arguments_and_results_are_of_their_types_there_and_here(crafts, working):
    async with working():
        handle = await crafts.mirror.delay(crafts.Point(1, 2), crafts.Loud("hey"))
        point, loud = await handle.get()

    assert point == crafts.Point(2, 1)
    assert loud.text == "HEY"


async def test_much_travels_as_well(crafts, working):
    blob = os.urandom(1_000_000)
    async with working():
        assert await (await crafts.size.delay(blob)).get() == blob[::-1]


@pytest.mark.parametrize("name", ["size", "die_at_most_once"])
async def test_arguments_that_do_not_fit_make_a_dead_letter(crafts, working, name):
    task = crafts.app.tasks[f"{crafts.__name__}.{name}"]
    async with working():
        await crafts.app.broker.publish(TaskMessage(id="a1", name=task.name, args=[7]))
        with pytest.raises(TaskError, match=r"argument '(blob|how)': Expected"):
            await crafts.app.result("a1").get()
        (letter,) = await crafts.app.broker.get_dlq_messages()

    assert letter.reason == "invalid-arguments"


async def test_a_result_that_cannot_be_sent_makes_a_dead_letter(crafts, working):
    async with working():
        with pytest.raises(TaskError, match=r"return value: builtins.object cannot be sent"):
            await (await crafts.wrong.delay()).get()
        (letter,) = await crafts.app.broker.get_dlq_messages()

    assert letter.reason == "unusable-result"


async def test_an_error_arrives_with_its_class_its_text_and_the_tasks_own_traceback(
    crafts, working
):
    async with working():
        with pytest.raises(TaskError) as caught:
            await (await crafts.fail.delay("worse")).get()
        with pytest.raises(TaskError) as left:
            await (await crafts.fail.delay("exit")).get()

    error = caught.value
    assert error.type_name == f"{crafts.__name__}.Worse"
    assert error.message == "no"
    assert error.remote_traceback.count("File ") == 1
    assert "in fail" in error.remote_traceback
    assert left.value.type_name == "SystemExit"


@pytest.mark.parametrize("way", ["by_class", "by_name", "by_function"])
async def test_a_retry_policy_names_errors_as_it_does_anywhere(crafts, working, way):
    task = getattr(crafts, f"fail_{way}")
    async with working():
        assert await (await task.delay()).get() == 1


async def test_an_error_to_ignore_is_not_retried(crafts, working):
    async with working():
        with pytest.raises(TaskError, match="no luck"):
            await (await crafts.fail_ignored.delay()).get()


async def test_the_policy_of_a_call_goes_before_that_of_the_task(crafts, working):
    names = RetryPolicy(max_retries=1, retry_delay=0, retry_on=["KeyError"])
    async with working():
        with pytest.raises(TaskError, match="no luck"):
            await (await crafts.fail_by_function.options(retry_policy=names).delay()).get()


async def test_a_task_may_ask_for_an_end_or_for_another_attempt(crafts, working):
    async with working():
        with pytest.raises(TaskError, match="given up") as given_up:
            await (await crafts.ask.delay("fail")).get()
        with pytest.raises(TaskError, match="again") as again:
            await (await crafts.ask.delay("retry")).get()
        letters = await crafts.app.broker.get_dlq_messages()

    assert given_up.value.type_name == again.value.type_name == f"{crafts.__name__}.Broken"
    assert [letter.retry_count for letter in letters] == [0, 1]


async def test_a_task_may_ask_for_a_pause(crafts, working, log):
    async with working():
        handle = await crafts.ask.delay("snooze")
        await log.heard("snoozes for 60 s")
        while not (await crafts.app.broker.counts(["default"]))["default"].delayed:
            await anyio.lowlevel.checkpoint()

    assert await handle.state() is TaskState.PENDING


async def test_a_task_is_told_of_its_call_and_reports(crafts, working, log, gate):
    async with working():
        handle = await crafts.told.delay(gate.path)
        await log.heard("begun")
        while (progress := await handle.progress()) is None:
            await anyio.lowlevel.checkpoint()
        await anyio.to_thread.run_sync(gate.open)
        value = await handle.get()

    assert (progress.fraction, progress.note) == (0.5, "half")
    assert value == [crafts.told.name, "default", "b", "1", "60"]


async def test_its_log_lines_reach_the_handlers_of_the_worker_with_its_labels(crafts, working, log):
    async with working():
        handle = await crafts.say.delay("from %s")
        await handle.get()
        await (await crafts.say.delay("and again")).get()

    (first,) = log.find("from %s")
    (thread, _) = log.find("from a thread")
    (caught, _) = log.find("caught")
    labels = (handle.task_id, crafts.say.name, 1, "default")
    assert tuple(getattr(first, name) for name in LABELS) == labels
    assert not hasattr(thread, "task_id") or thread.task_id == ""  # as in the worker
    assert first.process != os.getpid()
    assert first.colour == "red"
    assert caught.exc_text.endswith("Broken: logged")
    assert log.find("nobody wants to know") == []


async def test_it_looks_for_modules_where_its_worker_does(crafts, working, monkeypatch):
    odd = ["/no/such/\udcff", Path("/passed/over/by/an/import")]
    monkeypatch.setattr(sys, "path", [*sys.path, *odd])
    async with working():
        found = await (await crafts.path.delay()).get()

    assert found == [os.fsencode(entry) for entry in sys.path[:-1]]
    assert found[-1] == b"/no/such/\xff"


async def test_it_has_no_input_and_a_session_of_its_own(crafts, working):
    async with working():
        assert await (await crafts.stdin.delay()).get() == ""
        assert await (await crafts.session.delay()).get()


async def test_the_signals_of_a_terminal_or_a_service_manager_do_not_end_it(crafts, working):
    async with working():
        assert await (await crafts.signalled.delay()).get() == "alive, -15"


async def test_a_module_that_cannot_be_imported_there_fails_the_attempt(tmp_path, crafts, working):
    source = (tmp_path / f"{crafts.__name__}.py").read_text()
    broken = source + "\nif IN_PROCESS:\n    raise ImportError('no such driver')\n"
    (tmp_path / f"{crafts.__name__}.py").write_text(broken)

    async with working():
        with pytest.raises(TaskError, match="no such driver") as caught:
            await (await crafts.pid.delay()).get()

    assert caught.value.type_name == "ImportError"


async def test_a_task_that_is_not_there_any_more_is_told_of(tmp_path, crafts, working):
    path = tmp_path / f"{crafts.__name__}.py"
    path.write_text(path.read_text().replace("def pid(", "def was_pid("))

    async with working():
        with pytest.raises(TaskError, match="was the code changed under the worker"):
            await (await crafts.pid.delay()).get()
