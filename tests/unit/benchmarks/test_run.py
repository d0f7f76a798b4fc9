from __future__ import annotations

import pytest
from msgspec.structs import replace

from benchmarks import measure
from benchmarks.run import run
from benchmarks.scale import FULL, QUICK
from benchmarks.variant import Variant

VARIANTS = [Variant("sqlite", "asyncio"), Variant("sqlite", "trio")]


@pytest.fixture
def taken(monkeypatch):
    """The measurements that were taken, of which the fourth is interrupted."""
    taken = []

    def take(name):
        def measure(variant, _):
            if len(taken) == 3:
                raise KeyboardInterrupt
            taken.append((name, variant.loop))
            return {name: 1.0}

        return measure

    for name in ("drain", "recovery"):
        monkeypatch.setitem(measure.MEASURES, name, take(name))
    return taken


def test_what_was_measured_before_an_interruption_is_kept(taken):
    found = run(replace(FULL, rounds=2), VARIANTS, ["drain", "recovery"], lambda *_: None)
    assert len(found.samples) == len(taken) == 3
    assert found.median("drain", VARIANTS[0]) == 1.0


def test_a_rough_picture_has_what_takes_long_of_one_event_loop(taken):
    run(QUICK, VARIANTS, ["drain", "recovery"], lambda *_: None)
    assert taken == [("drain", "asyncio"), ("drain", "trio"), ("recovery", "asyncio")]
