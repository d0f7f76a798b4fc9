"""The commands, as a user types them, on a SQLite file."""

import json
import os
import signal
import subprocess
import sys
import time
from importlib.metadata import version

import pytest
from servers.brokers import BROKERS

from chicory.cli import dlq
from chicory.errors import ConfigurationError

LONG = "30"
UNLUCKY = """
class NoLuckError(Exception):
    pass

@app.task(retry_policy=RetryPolicy(max_retries=1, retry_delay=0))
def unlucky(ctx: TaskContext) -> None:
    raise NoLuckError if ctx.retries else KeyError("euro")
"""
APART = """
@app.task(executor="process")
def apart() -> int:
    return 7
"""

PROGRAM = """
import anyio, tasks
from chicory import Worker

anyio.run(Worker(tasks.app, burst=True).run)
"""


def test_the_version_is_told(chicory):
    said = chicory("--version")

    assert said.out == f"chicory {version('chicory')}\n"
    assert said.code == 0


def test_a_call_runs_in_a_worker_and_its_result_is_printed(chicory, worker):
    worker("tasks")

    assert chicory("call", "tasks", "tasks.add", "2", "3", "--timeout", LONG).out == "5\n"
    assert chicory("call", "tasks", "tasks.add", "-2", "b=-3", "--wait").out == "-5\n"
    assert chicory("call", "tasks", "tasks.greet", "42", "loud=true", "--wait").out == '"42"\n'
    assert chicory("call", "tasks:app", "tasks.greet", "name=ab=c", "--wait").out == '"ab=c"\n'
    assert chicory("call", "tasks", "tasks.greet", "name=--ab", "--wait").out == '"--ab"\n'
    mirrored = chicory("call", "tasks", "tasks.mirror", '{"x": 1, "y": 2}', "--wait").out
    assert json.loads(mirrored) == {"x": 2, "y": 1}


def test_a_type_of_the_app_s_own_is_written_and_shown_as_it_travels(chicory, worker):
    worker("tasks")

    said = chicory("call", "tasks", "tasks.double", "12", "--timeout", LONG)
    call = chicory("call", "tasks", "tasks.double", "12.5 EUR").out.strip()
    shown = chicory("result", "tasks", call, "--timeout", LONG)

    assert json.loads(said.out) == ["24"]
    assert '"25.0 EUR"' in shown.out
    refused = chicory("call", "tasks", "tasks.double", "x")
    assert (refused.out, refused.code) == ("", 2)
    assert "tasks.double: argument 'price': Money: " in refused.err


def test_a_result_is_shown_by_its_id(chicory, worker):
    task_id = chicory("call", "tasks", "tasks.add", "2").out.strip()

    pending = chicory("result", "tasks", task_id, "--json")
    worker("tasks")
    there = chicory("result", "tasks", task_id, "--json", "--timeout", LONG)

    assert json.loads(pending.out) == {"task_id": task_id, "state": "PENDING"}
    assert json.loads(there.out)["state"] == "SUCCESS"
    assert json.loads(there.out)["result"] == 3
    assert there.code == 0
    assert "SUCCESS" in chicory("result", "tasks", task_id).out


def test_calls_are_cancelled_by_their_ids(chicory, worker, folder):
    waiting = chicory("call", "tasks", "tasks.add", "2").out.strip()

    said = chicory("cancel", "tasks", waiting)

    assert said.out == f"{waiting}: cancelled before it began\n"
    assert said.code == 0
    shown = chicory("result", "tasks", waiting)
    assert "CANCELLED" in shown.out
    assert shown.code == 1
    again = chicory("cancel", "sqlite:///chicory.db", waiting, "other", "--json")
    assert json.loads(again.out) == {waiting: "absent", "other": "absent"}
    assert again.code == 1
    assert "neither waits nor runs" in chicory("cancel", "tasks", "other").out


def test_a_call_that_runs_is_cancelled_in_its_worker(chicory, worker, folder):
    worker("tasks", "--queue", "slow")
    running = chicory("call", "tasks", "tasks.linger", "begun").out.strip()
    deadline = time.monotonic() + 60
    while not (folder / "begun").exists():
        assert time.monotonic() < deadline

    said = chicory("cancel", "tasks", running)

    assert said.out == f"{running}: it runs, and its worker is told to stop it\n"
    assert said.code == 0
    shown = chicory("result", "tasks", running, "--timeout", "60")
    assert "CANCELLED" in shown.out


ENQUEUE = """
import anyio

async def main():
    async with tasks.app:
        await tasks.app.get_task("x").send("somebody")

anyio.run(main)
"""
VALUES = """
@app.task()
def third() -> float:
    return 1 / 3

@app.task()
def million() -> int:
    return 1000000

@app.task()
def nothing() -> None: ...

@app.task()
def text() -> str:
    return "1 \\x1b[31mred"
"""


@pytest.mark.parametrize(
    ("task", "shown"),
    [
        ("third", "result   0.3333333333333333"),
        ("million", "result   1000000"),
        ("nothing", "result   null"),
        ("text", r"result   1 \x1b[31mred"),
    ],
)
def test_a_result_is_shown_as_it_is(chicory, worker, folder, task, shown):
    with (folder / "tasks.py").open("a") as module:
        module.write(VALUES)
    task_id = chicory("call", "tasks", f"tasks.{task}").out.strip()
    worker("tasks", "--burst").wait()

    said = chicory("result", "tasks", task_id)

    assert shown in said.out.splitlines()


def test_of_an_unknown_id_it_is_said_that_it_may_be_unknown(chicory):
    said = chicory("result", "tasks", "mistyped")

    assert "or no such call is known" in said.out
    assert said.code == 0


def test_a_dead_letter_is_one_line_of_the_list_whatever_its_error(chicory, worker, folder):
    with (folder / "tasks.py").open("a") as module:
        module.write("@app.task()\ndef loud(text: str) -> None:\n    raise ValueError(text)\n")
    chicory("call", "tasks", "tasks.loud", "\x1b[31mred\nand more")
    chicory("call", "tasks", "tasks.loud", "x" * 1000)
    worker("tasks", "--burst", "-c", "1").wait()  # one after the other: their order is known

    _, *lines = chicory("dlq", "list", "tasks").out.splitlines()
    rows = json.loads(chicory("dlq", "list", "tasks", "--json").out)
    shown = chicory("dlq", "show", "tasks", rows[0]["id"]).out

    assert [line.split("   ")[-1] for line in lines] == [
        r"\x1b[31mred ...",
        "x" * 100 + " ...",
    ]
    assert [row["error"] for row in rows] == ["\x1b[31mred\nand more", "x" * 1000]
    assert "\x1b" not in shown
    assert r"\x1b[31mred" in shown


def test_what_the_terminal_has_no_letter_for_is_written_out(folder, chicory):
    chicory("call", "tasks", "tasks.add", "1")
    code = "import tasks; tasks.app.task(name='x', queue='\U0001f600')"
    subprocess.run(
        [sys.executable, "-c", f"{code}(tasks.greet.function)\n{ENQUEUE}"], cwd=folder, check=True
    )

    command = [sys.executable, "-m", "chicory.cli", "queues", "tasks"]
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    said = subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False)

    assert said.returncode == 0
    assert rb"\U0001f600" in said.stdout


STEERING = "\x7f \x9b31m \u202e \u2028 \U000e0041 \xe9"


def test_json_steers_no_terminal_and_says_the_same(chicory, worker):
    worker("tasks")

    said = chicory("call", "tasks", "tasks.greet", STEERING, "--timeout", LONG)
    task_id = chicory("call", "tasks", "tasks.greet", STEERING).out.strip()
    shown = chicory("result", "tasks", task_id, "--json", "--timeout", LONG)

    assert json.loads(said.out) == json.loads(shown.out)["result"] == STEERING
    assert said.out == '"\\u007f \\u009b31m \\u202e \\u2028 \\udb40\\udc41 \xe9"\n'
    assert shown.out.replace("\n", "").isprintable()


def test_a_failure_is_told_and_is_the_exit_code(chicory, worker):
    worker("tasks", "--no-dlq")

    said = chicory("call", "tasks", "tasks.boom", "--timeout", LONG)

    assert said.code == 1
    assert said.out.startswith("ValueError: no [bold]luck[/bold] (task ")
    assert chicory("dlq", "list", "tasks").out == "no dead letters\n"


@pytest.mark.parametrize("loop", ["asyncio", "trio"])
@pytest.mark.parametrize("task", ["tasks.boom", "tasks.trip"])
def test_a_traceback_shows_the_code_of_the_task_and_not_the_worker(chicory, worker, task, loop):
    worker("tasks", "--loop", loop)
    chicory("call", "tasks", task, "--timeout", LONG)
    (letter,) = json.loads(chicory("dlq", "list", "tasks", "--json").out)

    shown = chicory("result", "tasks", letter["id"]).out

    assert "tasks.py" in shown
    assert "raise ValueError" in shown
    assert "chicory" not in shown.partition("traceback")[2]
    assert "anyio" not in shown
    assert "outcome" not in shown


def test_dead_letters_are_listed_shown_replayed_and_deleted(chicory, worker):
    worker("tasks")
    assert chicory("call", "tasks", "tasks.boom", "--timeout", LONG).code == 1
    assert chicory("call", "tasks", "tasks.boom", "--timeout", LONG).code == 1

    first, second = json.loads(chicory("dlq", "list", "tasks", "--json").out)
    shown = json.loads(chicory("dlq", "show", "tasks", first["id"], "--json").out)
    replayed = chicory("dlq", "replay", "tasks", first["id"])
    again = chicory("result", "tasks", first["id"], "--timeout", LONG)
    deleted = chicory("dlq", "delete", "tasks", second["id"])
    purged = chicory("dlq", "purge", "tasks", "--all")

    assert first["error"] == "no [bold]luck[/bold]"
    assert (shown["task"], shown["reason"], shown["args"]) == ("tasks.boom", "failed", [])
    assert replayed.out == "1 dead letter replayed\n"
    assert again.code == 1
    assert deleted.out == "1 dead letter deleted\n"
    assert purged.out == "1 dead letter deleted\n"
    assert chicory("dlq", "list", "tasks").out == "no dead letters\n"


@pytest.mark.parametrize("broker", BROKERS, indirect=True)
def test_the_class_of_every_attempt_is_shown_and_dead_letters_are_chosen_by_the_last(
    broker, chicory, worker, folder
):
    with (folder / "tasks.py").open("a") as module:
        module.write(UNLUCKY)
    ids = [chicory("call", "tasks", f"tasks.{name}").out.strip() for name in ("unlucky", "boom")]
    worker("tasks", "--burst", "-c", "1").wait()

    def listed(*words: str) -> list[str]:
        return [one["id"] for one in json.loads(chicory("dlq", "list", "tasks", *words).out)]

    assert sorted(listed("--json")) == sorted(ids)
    assert "tasks.NoLuckError" in chicory("dlq", "list", "tasks").out
    shown = json.loads(chicory("dlq", "show", "tasks", ids[0], "--json").out)
    assert shown["failures"] == ["KeyError: 'euro'", "tasks.NoLuckError"]
    assert shown["error_type"] == "tasks.NoLuckError"

    for name in ("NoLuckError", "tasks.NoLuckError"):
        assert listed("--error", name, "--json") == ids[:1]
    assert listed("--error", "ValueError", "--count", "1", "--json") == ids[1:]
    assert listed("--error", "KeyError", "--json") == []

    said = chicory("dlq", "replay", "tasks", "--error", "ValueError")
    assert (said.code, said.out) == (2, "")
    assert "or --all (--queue NAME, --error CLASS)" in said.err
    said = chicory("dlq", "replay", "tasks", "--all", "--error", "ValueError")
    assert said.out == "1 dead letter replayed\n"
    assert listed("--json") == ids[:1]
    said = chicory("dlq", "purge", "tasks", "--all", "--error", "ValueError")
    assert said.out == "0 dead letters deleted\n"
    said = chicory("dlq", "purge", "tasks", "--queue", "default", "--error", "NoLuckError")
    assert said.out == "1 dead letter deleted\n"
    assert listed("--json") == []


def test_of_thousands_of_dead_letters_that_stay_some_are_named():
    with pytest.raises(ConfigurationError, match=r"runs: 0, 1, .*, 19 and 9,980 more$"):
        dlq._report("replayed", 0, (), [str(number) for number in range(10_000)])


def test_all_dead_letters_are_replayed(chicory, worker):
    process = worker("tasks")
    for _ in range(3):
        chicory("call", "tasks", "tasks.boom", "--timeout", LONG)
    process.send(signal.SIGTERM)
    process.wait()

    said = chicory("dlq", "replay", "tasks", "--all", "--queue", "default")

    assert said.out == "3 dead letters replayed\n"
    (row,) = json.loads(chicory("queues", "tasks", "--json").out)
    assert (row["queue"], row["ready"], row["dead"], row["workers"]) == ("default", 3, 0, 0)


@pytest.mark.parametrize("which", [["--all"], ["a1"]])
def test_a_dead_letter_that_another_call_keeps_from_being_replayed_is_named(chicory, worker, which):
    process = worker("tasks")
    _publish("a1", "None")
    assert chicory("result", "tasks", "a1", "--timeout", LONG).code == 1
    process.send(signal.SIGTERM)
    process.wait()
    _publish("a1", "datetime.now(UTC) + timedelta(days=1)")

    said = chicory("dlq", "replay", "tasks", *which)

    assert (said.code, said.out) == (2, "0 dead letters replayed\n")
    assert "another call with their id, or their unique key, waits or runs: a1" in said.err
    (letter,) = json.loads(chicory("dlq", "list", "tasks", "--json").out)
    assert letter["id"] == "a1"


def test_queues_and_workers_are_listed(chicory, worker, beating):
    assert chicory("queues", "tasks").out == "all queues are empty\n"
    assert chicory("workers", "tasks").out == "no worker is alive\n"
    worker("tasks", "--queue", "slow", "-q", "default", "-c", "3")
    chicory("call", "tasks", "tasks.add", "1", "--timeout", LONG)

    (row,) = beating(1)

    assert (row["queue"], row["concurrency"]) == ("slow,default", 3)
    assert chicory("cleanup", "tasks").out == "0 stale workers removed\n"
    assert row["worker"] in chicory("workers", "sqlite:///chicory.db").out


@pytest.mark.parametrize("loop", ["asyncio", "uvloop", "trio"])
def test_a_worker_stops_cleanly_on_each_loop(chicory, worker, folder, loop):
    process = worker("tasks", "--loop", loop)
    assert chicory("call", "tasks", "tasks.add", "2", "--timeout", LONG).out == "3\n"

    process.send(signal.SIGTERM)

    assert process.wait() == 0
    log = process.log.read_text()
    assert "tasks known, consuming default" in log
    assert "stopped after 1 tasks, 0 of them failed" in log
    assert "Traceback" not in log


@pytest.mark.parametrize("loop", ["asyncio", "trio"])
def test_what_does_not_finish_is_given_back_whole(chicory, worker, folder, loop):
    process = worker("tasks", "-q", "slow", "--shutdown-timeout", "0", "--loop", loop)
    chicory("call", "tasks", "tasks.linger", "begun")
    while not (folder / "begun").exists():
        assert process.process.poll() is None

    process.send(signal.SIGINT)

    assert process.wait() == 0
    (row,) = json.loads(chicory("queues", "tasks", "--json").out)
    assert (row["queue"], row["ready"], row["running"], row["dead"]) == ("slow", 1, 0, 0)


@pytest.mark.parametrize("module", ["chicory", "chicory.cli"])
def test_python_runs_the_command_where_it_is_not_on_the_path(folder, module):
    words = [sys.executable, "-m", module, "nonsense"]

    said = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)

    assert said.returncode == 2
    (line,) = said.stderr.splitlines()
    assert line.startswith('chicory: Unknown command "nonsense". Available commands: worker, ')
    assert line.endswith(", ...; chicory --help shows what there is")


def test_a_reader_that_has_seen_enough_is_no_error(folder):
    command = [sys.executable, "-m", "chicory.cli", "--help"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        error = process.stderr.read()

    assert b"Traceback" not in error
    assert b"BrokenPipe" not in error


def test_a_command_that_has_nowhere_to_print_does_its_work(chicory, folder):
    words = [sys.executable, "-m", "chicory.cli", "call", "tasks", "tasks.add", "1"]
    closed = ["sh", "-c", 'exec "$@" >&-', "sh", *words]

    said = subprocess.run(closed, cwd=folder, capture_output=True, check=False)

    assert (said.returncode, said.stderr) == (0, b"")
    (row,) = json.loads(chicory("queues", "tasks", "--json").out)
    assert row["ready"] == 1


def _run_with_no_stderr(folder, *words: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, *words]
    closed = ["sh", "-c", 'exec "$@" 2>&-', "sh", *command]
    return subprocess.run(closed, cwd=folder, stdout=subprocess.PIPE, check=False)


@pytest.mark.parametrize("words", ["nonsense", "queues sqlite:///typo.db"])
def test_what_cannot_be_said_on_stderr_is_not_said_on_stdout(folder, words):
    said = _run_with_no_stderr(folder, "-m", "chicory.cli", *words.split())

    assert (said.returncode, said.stdout) == (2, b"")


@pytest.mark.parametrize(
    "words", [("-m", "chicory.cli", "worker", "tasks", "--burst"), ("-c", PROGRAM)]
)
def test_a_worker_with_no_stderr_works_its_processes_too(chicory, folder, words):
    with (folder / "tasks.py").open("a") as module:
        module.write(APART)
    task_id = chicory("call", "tasks", "tasks.apart").out.strip()

    said = _run_with_no_stderr(folder, *words)

    assert (said.returncode, said.stdout) == (0, b"")
    assert json.loads(chicory("result", "tasks", task_id, "--json").out)["result"] == 7


def _publish(task_id: str, eta: str) -> None:
    message = f"TaskMessage(id={task_id!r}, name='tasks.boom', eta={eta})"
    program = (
        "from datetime import UTC, datetime, timedelta\n"
        "from chicory import TaskMessage\n"
        "from tasks import app\n"
        f"app.run_sync(app.broker.publish, {message})"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
