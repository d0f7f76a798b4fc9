"""Child processes: a fresh interpreter for each measurement, ended by its own handle."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from msgspec import json

from benchmarks.job import Figures, Job

_ROOT = Path(__file__).parent.parent
_LIMIT = 300.0
"""Seconds that no errand needs."""


def run(job: Job) -> Figures:
    """Have a child do the errand; raises ``CalledProcessError`` where it fails."""
    done = subprocess.run(
        _command(job), cwd=_ROOT, stdout=subprocess.PIPE, timeout=_LIMIT, check=True
    )
    return json.decode(done.stdout.splitlines()[-1], type=Figures)


@contextmanager
def served(job: Job) -> Generator[None]:
    """While a worker process is ready and waits."""
    with subprocess.Popen(
        _command(job), cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        try:
            assert child.stdout is not None
            if child.stdout.readline() != b"ready\n":
                raise RuntimeError("the worker process did not start")
            yield
            child.communicate(timeout=_LIMIT)
        finally:
            child.kill()


def _command(job: Job) -> list[str]:
    return [sys.executable, "-m", "benchmarks.child", json.encode(job).decode()]
