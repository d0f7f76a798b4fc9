"""What a child process is told to do, and what it answers: one line of JSON each."""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct

from benchmarks.variant import Loop

Figures: TypeAlias = dict[str, float]
"""Values by the name that ``benchmarks.figure`` knows them by."""


class Job(Struct, frozen=True, kw_only=True):
    """One errand of a child process.

    Attributes:
        errand: the name of a function in ``benchmarks.errands``.
        url: the broker.
        loop: the event loop.
        count: calls to make or to expect.
        seconds: how long to look.
        concurrency: tasks that a worker runs at once.
    """

    errand: str
    url: str
    loop: Loop
    count: int = 0
    seconds: float = 0.0
    concurrency: int = 32
