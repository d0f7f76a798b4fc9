"""What the tasks are called with; for peers, too: the standard library only."""

from __future__ import annotations

from typing import Any

_BLOB = "x" * 10_240
_SPANS = frozenset({"nap", "spin", "plain_spin"})


def arguments(task: str, seconds: float) -> tuple[Any, ...]:
    """Of a task of ``benchmarks.job.Task``; those that wait or work do so for that long."""
    if task in _SPANS:
        return (seconds,)
    return (_BLOB,) if task == "blob" else ()
