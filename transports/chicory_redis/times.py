"""Times as the server has them: whole milliseconds."""

from __future__ import annotations

import math
from functools import lru_cache

_LONGEST = 1e11
"""Seconds: some thousand years, in milliseconds exact as a double."""


def due(not_before: float) -> int:
    """A point in time, rounded up so that nothing comes too early; 0 for at once."""
    return math.ceil(min(_LONGEST, max(0.0, not_before)) * 1000)


@lru_cache(maxsize=64)  # of records, and of their like: mostly the same one
def span(seconds: float) -> int:
    """A duration, rounded up, of at least a millisecond."""
    return max(1, math.ceil(min(_LONGEST, seconds) * 1000))
