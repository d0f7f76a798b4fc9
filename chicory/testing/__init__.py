"""For users who test tasks, and for authors of transports."""

from chicory.testing.clock import ManualClock
from chicory.testing.memory import MemoryTransport

__all__ = ["ManualClock", "MemoryTransport"]
