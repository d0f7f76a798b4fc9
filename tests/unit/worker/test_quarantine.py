"""What a suspect that runs keeps from being fetched, and for how long."""

from __future__ import annotations

import math
from typing import cast

import pytest

from chicory.worker.attempt import Attempt
from chicory.worker.quarantine import PAUSE, Quarantine


@pytest.fixture
def quarantine() -> Quarantine:
    """One suspect runs since 0, and another one was refused and is gone."""
    made = Quarantine()
    running, refused = (cast("Attempt", object()) for _ in range(2))
    assert made.admit(running)
    assert not made.admit(refused)
    made.pause(0)
    assert made.left([refused])
    assert made.begin(0) == (running,)
    return made


def test_what_is_refused_keeps_its_place_for_as_long_as_most_calls_take(quarantine):
    assert (quarantine.limit(1.0), quarantine.pause(1.0)) == (0, 0.0)


def test_beside_a_suspect_that_takes_long_others_are_fetched(quarantine):
    late = quarantine.until()

    assert (quarantine.limit(late), quarantine.pause(late)) == (math.inf, PAUSE)
