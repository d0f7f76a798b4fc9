"""Child processes: a fresh interpreter for each measurement, ended by its own handle.

A command is told its job as one more argument, in JSON.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile

from msgspec import json

from benchmarks.job import Figures, Job

_ROOT = Path(__file__).parent.parent
_LIMIT = 900.0
"""Seconds that no errand needs."""


CHICORY = (sys.executable, "-m", "benchmarks.child")
"""The command of chicory's own errands."""


def run(job: Job, command: Sequence[str] = CHICORY) -> Figures:
    """Have a child do the errand; raises ``RuntimeError`` with what it said where it fails."""
    done = subprocess.run(
        _told(command, job), cwd=_ROOT, capture_output=True, timeout=_LIMIT, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{command[-1]} failed at {job.errand}:\n{done.stderr.decode()}")
    return json.decode(done.stdout.splitlines()[-1], type=Figures)


@contextmanager
def served(job: Job, command: Sequence[str] = CHICORY) -> Generator[subprocess.Popen[bytes]]:
    """While a process that has said that it is ready waits for the end of its input."""
    with (
        TemporaryFile() as said,
        subprocess.Popen(
            _told(command, job),
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
        ) as child,
    ):
        try:
            assert child.stdout is not None
            if child.stdout.readline() != b"ready\n":
                said.seek(0)
                raise RuntimeError(f"{command[-1]} did not start:\n{said.read().decode()}")
            yield child
            end_input(child)
            child.wait(timeout=_LIMIT)
        except EOFError as ended:
            said.seek(0)
            raise RuntimeError(f"{command[-1]} {ended}:\n{said.read().decode()}") from None
        finally:
            child.kill()


def end_input(child: subprocess.Popen[bytes]) -> None:
    """Tell a served process to come to its end."""
    assert child.stdin is not None
    child.stdin.close()


def ask(child: subprocess.Popen[bytes], job: Job) -> Figures:
    """What a served process that attends answers to one errand more."""
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(json.encode(job) + b"\n")
    child.stdin.flush()
    told = child.stdout.readline()
    if not told:
        raise EOFError(f"failed at {job.errand}")
    return json.decode(told, type=Figures)


def answer(child: subprocess.Popen[bytes]) -> Figures:
    """What a served process answers, its input having ended."""
    assert child.stdout is not None
    return json.decode(child.stdout.read().splitlines()[-1], type=Figures)


def _told(command: Sequence[str], job: Job) -> list[str]:
    return [*command, json.encode(job).decode()]
