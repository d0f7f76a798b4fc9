"""Percentiles, and those that a sample is large enough for."""

from __future__ import annotations

import math
from collections.abc import Sequence

_TOLD = (50, 99, 99.9)


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least this many percent of the values do not exceed."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(len(ranked) * percent / 100) - 1)]


def needed(percent: float) -> int:
    """How many values it takes for one of them to lie beyond it: 100 for a p99, 1,000 for p99.9."""
    return round(100 / (100 - percent))


def told(name: str, values: Sequence[float]) -> dict[str, float]:
    """``name p50``, ``name p99``, ``name p99.9``, as far as the sample holds them."""
    return {
        f"{name} p{percent}": percentile(values, percent)
        for percent in _TOLD
        if len(values) >= needed(percent)
    }
