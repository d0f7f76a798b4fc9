"""``chicory workers --watch``: on a terminal in one place, elsewhere table after table."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress

import anyio
import pytest

from chicory import Chicory, WorkerStats
from chicory.stats import RunningTask

COMMAND = [sys.executable, "-m", "chicory.cli", "workers", "tasks", "--watch", "--interval", "0.02"]


def beat(worker_id: str) -> None:
    worker = WorkerStats(
        worker_id=worker_id,
        hostname="h",
        pid=1,
        queue="q",
        concurrency=1,
        active_tasks=1,
        running=[RunningTask("tasks.add", "some-id", 0.0)],
    )

    async def send() -> None:
        async with Chicory() as app:
            await app.backend.store_heartbeat(worker_id, worker, 600)

    anyio.run(send)


@pytest.fixture
def reader(folder) -> Iterator[Callable[..., Callable[[str], str]]]:
    """Starts the command on this stdout; reads of the other end until a text has come."""
    started: list[subprocess.Popen[bytes]] = []

    def start(reading: int, writing: int, *words: str) -> Callable[[str], str]:
        process = subprocess.Popen(
            [*COMMAND, *words], cwd=folder, stdout=writing, stderr=subprocess.PIPE
        )
        started.append(process)
        os.close(writing)
        said = b""

        def until(text: str) -> str:
            nonlocal said
            while text.encode() not in said:
                more = os.read(reading, 4096)
                assert more, process.stderr.read().decode()
                said += more
            return said.decode()

        until.process = process
        return until

    yield start
    for process in started:
        with suppress(ProcessLookupError):
            process.kill()
        process.wait()
        process.stderr.close()


def ended(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 0
    assert process.stderr.read() == b""


@pytest.mark.parametrize("words", [[], ["--json"]])
def test_where_no_terminal_is_each_look_follows_the_one_before(reader, words):
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb"):
        until = reader(reading, writing, *words)
        until("no worker is alive" if not words else "[]\n[]")
        beat("first")
        until("some-id")
        beat("second")
        said = until("second")
        ended(until.process)

    assert said.index("first") < said.index("second")
    assert "\x1b" not in said


def test_on_a_terminal_the_table_stays_in_its_place(reader):
    pty = pytest.importorskip("pty")
    reading, writing = pty.openpty()
    with os.fdopen(reading, "rb", buffering=0):
        until = reader(reading, writing)
        until("no worker is alive")
        beat("first")
        until("first")
        said = until("\x1b[1A")  # a line up: over what was there
        ended(until.process)

    assert "control-C ends" in said


def test_an_interval_alone_is_refused(chicory):
    said = chicory("workers", "tasks", "--interval", "3")

    assert (said.code, said.err) == (2, "chicory: --interval goes with --watch\n")
