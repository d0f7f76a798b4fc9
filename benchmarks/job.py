"""What a child process is told to do, and what it answers: one line of JSON each."""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

from benchmarks.variant import Scheduling

Figures: TypeAlias = dict[str, float]
"""Values by the name that ``benchmarks.figure`` knows them by."""

Task: TypeAlias = Literal["noop", "nap", "blob", "plain"]
"""What is run: nothing, a wait, nothing with 10 KiB of arguments, nothing in a thread."""


class Job(Struct, frozen=True, kw_only=True):
    """One errand of a child process.

    Attributes:
        errand: the name of a function in ``benchmarks.errands``.
        url: the broker.
        server: its process; 0 where there is none.
        loop: the event loop.
        count: calls to make or to expect.
        seconds: how long to look.
        concurrency: tasks that a worker runs at once.
        task: what a queue is drained of.
        nap: seconds that it waits.
        path: a file that tasks write to.
    """

    errand: str
    url: str
    server: int = 0
    loop: Scheduling
    count: int = 0
    seconds: float = 0.0
    concurrency: int = 32
    task: Task = "noop"
    nap: float = 0.0
    path: str = ""
