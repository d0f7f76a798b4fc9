"""A task that does not let its worker end, and the process that ends all the same."""

import json
import subprocess
import sys
from signal import SIGINT, SIGTERM, Signals

import pytest
from servers.brokers import BROKERS

HUNG = """
import time
import anyio
from chicory import Chicory

app = Chicory()

@app.task()
async def swallow(begun: str) -> None:
    open(begun, "w").close()
    while True:
        try:
            await anyio.sleep_forever()
        except BaseException:
            pass

@app.task()
async def block(begun: str) -> None:
    open(begun, "w").close()
    while True:
        time.sleep(0.1)

@app.task()
async def threads(begun: str) -> None:
    import asyncio, threading
    open(begun, "w").close()
    await asyncio.to_thread(threading.Event().wait)
"""
HURRIED = """
import sys
import chicory.worker.shift, chicory.worker.run
from chicory.cli import main

chicory.worker.shift.FAREWELL, chicory.worker.run.GRACE = 0.1, float(sys.argv[1])
sys.exit(main(["worker", "hung", *sys.argv[2:]]))
"""


@pytest.fixture
def stop(chicory, folder):
    """Begins a task, has its worker told to stop; returns exit code, log, queue and workers."""
    (folder / "hung.py").write_text(HUNG)
    (folder / "hurried.py").write_text(HURRIED)
    log, begun = folder / "log", folder / "begun"
    started = []

    def stop(task: str, *signals: Signals, loop="asyncio", timeout="0", grace="1"):
        with log.open("w") as lines:
            words = [sys.executable, "hurried.py", grace]
            words += ["--loop", loop, "--shutdown-timeout", timeout]
            process = subprocess.Popen(words, stderr=lines, stdin=subprocess.DEVNULL)
        started.append(process)
        chicory("call", "hung", f"hung.{task}", "begun")
        while not begun.exists():
            assert process.poll() is None, log.read_text()
        for number in signals:
            process.send_signal(number)  # does nothing to one that has been seen to end
            process.poll()
        code = process.wait(timeout=90)
        (row,) = json.loads(chicory("queues", "hung", "--json").out)
        return code, log.read_text(), row, json.loads(chicory("workers", "hung", "--json").out)

    yield stop
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.slow
@pytest.mark.parametrize("loop", ["asyncio", "uvloop", "trio"])
@pytest.mark.parametrize("task", ["swallow", "block"])
def test_a_task_that_does_not_end_is_given_back_and_its_process_ends(stop, task, loop):
    code, log, row, workers = stop(task, SIGTERM, loop=loop)

    assert code == 1
    assert f"task hung.{task} (" in log
    assert log.count("this process was told to end, and has not ended") == 1
    assert (row["ready"], row["running"], row["dead"]) == (1, 0, 0)
    assert workers == []  # it has said farewell


@pytest.mark.slow
@pytest.mark.parametrize("broker", BROKERS[1:], indirect=True)
def test_it_is_given_back_to_every_broker_while_the_event_loop_is_blocked(broker, stop):
    code, _, row, workers = stop("block", SIGTERM)

    assert code == 1
    assert (row["ready"], row["running"], row["dead"]) == (1, 0, 0)
    assert workers == []


def test_a_thread_that_python_waits_for_does_not_keep_the_process(stop):
    code, log, row, workers = stop("threads", SIGTERM)

    assert code == 1
    assert log.count("this process was told to end, and has not ended") == 1
    assert (row["ready"], row["running"]) == (1, 0)
    assert workers == []


def test_a_second_signal_ends_the_waiting_also_where_the_event_loop_is_blocked(stop):
    code, _, row, _ = stop("block", SIGINT, SIGTERM, timeout="1000")

    assert code == 1
    assert (row["ready"], row["running"]) == (1, 0)


def test_a_third_signal_ends_the_process_also_where_the_event_loop_is_blocked(stop):
    # several of one kind at once are one, so that nobody knows how many it takes
    code, _, row, _ = stop("block", *[SIGTERM] * 10_000, timeout="1000", grace="1000")

    assert code == -SIGTERM
    assert row["running"] == 1  # until its lease runs out
