"""For users who test tasks, and for authors of transports.

Each name is imported when it is first used: pytest loads the plugin of this package in every run.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chicory.testing.clock import ManualClock
    from chicory.testing.journal import Enqueued
    from chicory.testing.lab import Lab
    from chicory.testing.memory import MemoryTransport
    from chicory.testing.rehearsal import Rehearsal

__all__ = ["Enqueued", "Lab", "ManualClock", "MemoryTransport", "Rehearsal"]

_HOME = {
    "Enqueued": "journal",
    "Lab": "lab",
    "ManualClock": "clock",
    "MemoryTransport": "memory",
    "Rehearsal": "rehearsal",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'chicory.testing' has no attribute {name!r}")
    value = getattr(import_module(f"chicory.testing.{_HOME[name]}"), name)
    globals()[name] = value
    return value
