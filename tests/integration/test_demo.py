"""The demonstration, whole, and the commands that it prints."""

import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from vital import is_gone

from chicory.cli.demo import WORKERS

COMMAND = [sys.executable, "-m", "chicory.cli"]


@pytest.mark.slow
def test_what_the_demo_prints_next_works_as_it_is_printed(folder, monkeypatch):
    monkeypatch.delenv("UV_RUN_RECURSION_DEPTH", raising=False)  # these tests may run under uv
    told = _run("demo")

    assert re.search(r"calls +[\d,]{5,} in ", told)
    assert re.search(r"retries +[1-9]", told)
    assert re.search(r"dead letters +1 *\n", told)
    steps = dict(re.findall(r"^  (.+?) +# (.+)$", told, re.MULTILINE))
    queues, listed, shown, mend, replay, work, result = steps
    assert re.search(r"default +0 +0 +0 +1 +no +0", _chicory(queues))
    assert "No such file or directory: 'missing_chapter.py'" in _chicory(listed)
    assert "['missing_chapter.py']" in _chicory(shown)
    subprocess.run(mend, shell=True, check=True)
    assert "1 dead letter replayed" in _chicory(replay)
    with subprocess.Popen([*COMMAND, *work.split()[1:]], stderr=subprocess.DEVNULL) as worker:
        try:
            assert re.search(r"state +SUCCESS", _chicory(f"{result} --timeout 30"))
        finally:
            worker.terminate()
    assert worker.returncode == 0
    assert sorted(path.name for path in folder.glob("*.db")) == ["chicory-demo.db"]


@pytest.mark.slow
def test_the_workers_of_a_demo_that_is_killed_end_with_it(folder):
    with subprocess.Popen([*COMMAND, "demo"], stdout=subprocess.DEVNULL) as demo:
        _wait(lambda: len(_children(demo.pid)) == WORKERS)
        workers = _children(demo.pid)
        demo.kill()

    _wait(lambda: all(map(is_gone, workers)))


def test_a_demo_that_cannot_start_says_why(folder):
    (folder / "chicory-demo.db").write_text("no database at all, but text enough to look like one")

    failed = subprocess.run(
        [*COMMAND, "demo"], capture_output=True, text=True, timeout=300, check=False
    )

    assert failed.returncode == 2
    assert "chicory-demo.db" in failed.stderr
    assert failed.stderr.count("\n") == 1


def test_a_demo_on_a_broker_within_one_process_is_refused(folder):
    command = [*COMMAND, "demo", "--broker", "memory://"]

    failed = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)

    assert failed.returncode == 2
    assert failed.stdout == ""
    assert failed.stderr.startswith("chicory: memory:// is within one process")


def _wait(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)  # processes tell nobody


def _children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for path in listed for child in path.read_text().split()]


def _run(*words: str) -> str:
    done = subprocess.run(
        [*COMMAND, *words], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _chicory(line: str) -> str:
    program, *words = line.split()
    assert program == "chicory"
    return _run(*words)
