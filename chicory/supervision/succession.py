"""What the end of a worker process means: a pure decision."""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct

SHORTEST = 0.5
LONGEST = 30.0
"""Seconds to wait before a process that keeps dying is replaced: doubling from the first."""
SETTLED = 60.0
"""Seconds after which a process has proved that it can live: the waiting starts over."""
HOPELESS = 2
"""Exit code of a process that never got to work, and never can: what it was told is wrong."""


class Replace(Struct, frozen=True):
    """Start another one after ``delay`` seconds; ``failures`` deaths have followed one another."""

    delay: float
    failures: int


class Leave(Struct, frozen=True):
    """Its work is done: nobody takes its place."""


class GiveUp(Struct, frozen=True):
    """None of them can work: end them all, with this exit code."""

    code: int


Succession: TypeAlias = Replace | Leave | GiveUp


def succession(code: int, age: float, failures: int, *, finite: bool, worked: bool) -> Succession:
    """Who follows a process that ended with ``code`` at the age of ``age`` seconds.

    Args:
        code: its exit code; negative for a signal.
        age: seconds it lived.
        failures: how many before it, in its place, died one after another.
        finite: whether they were told to end when their work is done.
        worked: whether it, or one beside or before it, got to work: a task may end it with any
            code, and what is wrong now was right then.
    """
    if code == 0 and (finite or worked):
        return Leave() if finite else Replace(0.0, 0)  # it has been recycled
    if code == HOPELESS and not worked:
        return GiveUp(code)
    if age >= SETTLED:
        failures = 0
    return postponed(failures)


def postponed(failures: int) -> Replace:
    """The next try after one more failure, as where the system has no process or memory left."""
    return Replace(min(LONGEST, SHORTEST * 2.0 ** min(failures, 16)), failures + 1)
