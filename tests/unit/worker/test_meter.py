"""What is measured, by itself."""

from __future__ import annotations

from typing import get_args

import pytest

from chicory.outcome import Verdict
from chicory.worker.meter import _OUTCOMES, BUCKETS, Histogram


def test_every_verdict_has_a_name():
    assert _OUTCOMES.keys() == set(get_args(Verdict))


def test_a_histogram_counts_up_to_each_bound_and_beyond():
    histogram = Histogram()
    for value in (-1.0, 0.0, BUCKETS[0], BUCKETS[0] * 1.01, BUCKETS[-1], BUCKETS[-1] + 1):
        histogram.observe(value)

    assert histogram.counts[:2] == [3, 1]
    assert histogram.counts[-2:] == [1, 1]
    assert sum(histogram.counts) == 6
    assert histogram.sum == pytest.approx(BUCKETS[0] * 2.01 + 2 * BUCKETS[-1] + 1)
