"""A child process: ``python -m benchmarks.child JOB`` prints the figures as one line of JSON."""

from __future__ import annotations

import sys

from msgspec import json

from benchmarks.errands import run
from benchmarks.job import Job

if __name__ == "__main__":
    figures = run(json.decode(sys.argv[1], type=Job))
    print(json.encode(figures).decode(), flush=True)
