from __future__ import annotations

import random

from benchmarks.pressing import Arrivals


def test_calls_come_at_the_rate_that_was_asked_for_and_each_of_them_once():
    random.seed(1)
    arrivals = Arrivals(100, begin=50)
    taken = [arrivals.take(50 + tick / 10, 1000) for tick in range(1000)]
    assert abs(sum(taken) - 10_000) < 500
    assert len(set(taken)) > 5  # at random, that is, not evenly
    assert arrivals.take(50 + 99.9, 1000) == 0


def test_who_has_fallen_behind_makes_up_for_it_by_and_by():
    random.seed(1)
    arrivals = Arrivals(100, begin=0)
    assert [arrivals.take(10, 256) for _ in range(3)] == [256, 256, 256]
    late = 768 + arrivals.take(10, 1000)
    assert abs(late - 1000) < 150
