from __future__ import annotations

import time
from contextlib import nullcontext
from io import StringIO

import pytest
from msgspec.structs import replace
from rich.console import Console

from benchmarks import laden, measure
from benchmarks.report import remarks
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


def test_what_a_long_measurement_has_by_its_interruption_is_kept(monkeypatch):
    def lade(_variant, _laden, ballast, _sizes):
        if ballast == "queued":
            raise KeyboardInterrupt
        return {f"drain with {ballast}": 1.0}

    monkeypatch.setattr(laden, "_beside", lade)
    monkeypatch.setattr(laden, "site", nullcontext)
    found = run(FULL, VARIANTS, ["scale"], lambda *_: None)
    assert [each.figures for each in found.samples] == [
        {"drain with results": 1.0, "drain with delayed": 1.0}
    ]


def test_what_is_measured_next_is_told_with_what_there_is(taken):
    told = []
    run(
        replace(FULL, rounds=1),
        VARIANTS[:1],
        ["drain", "recovery"],
        lambda doing, made: told.append((doing, len(made.samples))),
    )
    assert told == [
        ("drain of chicory, asyncio on sqlite, round 1 of 1", 0),
        ("recovery of chicory, asyncio on sqlite, round 1 of 1", 1),
    ]


def test_a_rough_picture_has_what_takes_long_of_one_event_loop(taken):
    run(QUICK, VARIANTS, ["drain", "recovery"], lambda *_: None)
    assert taken == [("drain", "asyncio"), ("drain", "trio"), ("recovery", "asyncio")]


def test_what_would_not_be_over_in_time_is_left_out_and_named(monkeypatch):
    clock = 0.0

    def measure_for_a_minute(*_):
        nonlocal clock
        clock += 60
        return {"drain": 1.0}

    monkeypatch.setattr(time, "monotonic", lambda: clock)
    monkeypatch.setitem(measure.MEASURES, "drain", measure_for_a_minute)
    found = run(replace(FULL, rounds=2, budget=150), VARIANTS, ["drain"], lambda *_: None)
    assert [(each.round, each.seconds) for each in found.samples] == [(0, 60), (0, 60)]
    assert found.left_out == {
        "drain": ["chicory, trio on sqlite, round 2", "chicory, asyncio on sqlite, round 2"]
    }
    console = Console(record=True, width=200, file=StringIO())
    remarks(found, console)
    assert "Left out, as the time was up: drain (2)" in console.export_text()
