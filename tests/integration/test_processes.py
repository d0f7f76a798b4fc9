"""Tasks in processes of their own, through ``chicory worker``, on every transport."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from servers.brokers import BROKERS
from vital import is_gone

CRUNCH = """
import os, re, signal, logging
from chicory import Chicory, ProcessDiedError, RetryPolicy, TaskContext

app = Chicory()
log = logging.getLogger("crunch")

@app.task(executor="process")
def pid(path: str) -> int:
    log.info("working at %s", path)
    return os.getpid()

@app.task(
    executor="process",
    retry_policy=RetryPolicy(max_retries=1, retry_delay=0, retry_on=[ProcessDiedError]),
)
def die(ctx: TaskContext, how: str) -> int:
    if not ctx.retries:
        os.kill(os.getpid(), getattr(signal, how)) if how.startswith("SIG") else os._exit(3)
    return ctx.retries

@app.task(executor="process")
def stuck(path: str) -> None:
    with open(path + ".part", "w") as file:
        file.write(str(os.getpid()))
    os.rename(path + ".part", path)
    re.match("(a+)+$", "a" * 64 + "b")  # for ever, and never lets go of the GIL
"""
PATIENCE = 90


def wait_for(met) -> None:
    deadline = time.monotonic() + PATIENCE
    while not met():
        assert time.monotonic() < deadline


@pytest.fixture
def crunch(folder):
    (folder / "crunch.py").write_text(CRUNCH)


@pytest.mark.parametrize("loop", ["asyncio", "trio"])
@pytest.mark.parametrize("broker", BROKERS, indirect=True)
def test_processes_run_tasks_and_die_of_them_on_every_transport(
    broker, crunch, chicory, worker, loop
):
    process = worker("crunch", "--processes", "1", "--loop", loop, "--log-format", "json")

    def call(name: str, argument: str) -> int:
        said = chicory("call", "crunch", f"crunch.{name}", argument, "--wait")
        assert said.code == 0, said.err
        return json.loads(said.out)

    first, second = call("pid", "one"), call("pid", "two")
    retries = [call("die", how) for how in ("SIGSEGV", "exit")]
    third = call("pid", "three")
    process.send(signal.SIGTERM)

    assert process.wait() == 0
    assert first == second
    assert first not in {third, process.process.pid}
    assert retries == [1, 1]
    log = process.log.read_text()
    assert "crunch.die: its process was ended by SIGSEGV" in log
    assert "crunch.die: its process exited with status 3" in log
    lines = [json.loads(line) for line in log.splitlines() if "working at one" in line]
    assert [(line["task"], line["attempt"], line["logger"]) for line in lines] == [
        ("crunch.pid", 1, "crunch")
    ]
    assert is_gone(third)


def begun(path: Path) -> int:
    wait_for(path.exists)
    return int(path.read_text())


def test_a_worker_that_is_killed_takes_its_processes_with_it_whatever_they_do(
    folder, crunch, chicory, worker
):
    process = worker("crunch")
    chicory("call", "crunch", "crunch.stuck", "begun")
    pid = begun(folder / "begun")

    process.send(signal.SIGKILL)
    process.wait()

    wait_for(lambda: is_gone(pid))


def test_a_terminal_s_signal_ends_the_worker_first_which_gives_back_what_is_stuck(
    folder, crunch, chicory, worker
):
    process = worker("crunch", "--shutdown-timeout", "0.1")
    chicory("call", "crunch", "crunch.stuck", "begun")
    pid = begun(folder / "begun")

    os.kill(pid, signal.SIGTERM)  # as a service manager may do to all
    process.send(signal.SIGTERM)
    code = process.wait()
    (row,) = json.loads(chicory("queues", "crunch", "--json").out)

    assert code == 0
    assert is_gone(pid)
    assert "giving back 1 tasks" in process.log.read_text()
    assert (row["ready"], row["running"], row["dead"]) == (1, 0, 0)


def test_what_can_never_run_is_said_before_the_worker_starts(folder):
    (folder / "wrong.py").write_text(
        "from chicory import Chicory\napp = Chicory()\n"
        "def make():\n    @app.task(executor='process')\n    def inner(): ...\nmake()\n"
    )

    done = subprocess.run(
        [sys.executable, "-m", "chicory.cli", "worker", "wrong"],
        capture_output=True,
        text=True,
        cwd=folder,
        check=False,
    )

    assert done.returncode == 2
    assert "task 'wrong.inner', executor='process': a process of its own cannot" in done.stderr
    assert "Traceback" not in done.stderr
