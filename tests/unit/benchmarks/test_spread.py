from __future__ import annotations

import pytest

from benchmarks.spread import needed, percentile, told


def test_a_percentile_is_a_value_of_the_sample():
    values = list(range(1, 101))
    assert [percentile(values, percent) for percent in (50, 99, 99.9)] == [50, 99, 100]


@pytest.mark.parametrize(
    ("size", "names"),
    [
        (1, []),
        (2, ["p50"]),
        (99, ["p50"]),
        (100, ["p50", "p99"]),
        (999, ["p50", "p99"]),
        (1000, ["p50", "p99", "p99.9"]),
    ],
)
def test_a_percentile_is_told_where_the_sample_can_hold_it(size, names):
    assert list(told("latency", range(size))) == [f"latency {name}" for name in names]


def test_one_value_in_so_many_lies_beyond_a_percentile():
    assert [needed(percent) for percent in (50, 99, 99.9)] == [2, 100, 1000]
