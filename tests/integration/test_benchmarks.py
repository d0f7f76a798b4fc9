from __future__ import annotations

import pytest
from msgspec.structs import replace

from benchmarks import laden
from benchmarks.contender import CONTENDERS
from benchmarks.run import run
from benchmarks.scale import QUICK
from benchmarks.variant import Variant

SQLITE = Variant("sqlite", "asyncio")
TINY = replace(
    QUICK,
    drained=200,
    enqueued=40,
    loaded=4,
    ballast=300,
    turns=2,
    sipped=100,
    asked=3,
    soaked=200,
    soaked_oddly=100,
    worked=60,
)


def _floor(broker: str) -> Variant:
    return next(one.variant for one in CONTENDERS if one.name == f"raw-{broker}")


@pytest.mark.slow
@pytest.mark.parametrize("broker", ["redis", "nats"])
def test_the_bare_trips_of_a_call_are_timed_like_the_call(broker):
    found = run(replace(QUICK, echoes=5), [_floor(broker)], ["latency"], lambda *_: None)
    assert not found.failures
    figures = found.samples[0].figures
    assert 0 < figures["wake-up p50"] < figures["latency p50"]
    assert figures["calls timed"] == 5


def test_chicory_and_a_bare_client_are_measured_by_the_same_harness():
    floor = _floor("redis")
    scale = replace(QUICK, drained=60)
    found = run(scale, [Variant("redis", "asyncio"), floor], ["drain"], lambda *_: None)
    assert not found.failures
    assert all(found.machine[name][0].isdigit() for name in ("redis-server", "nats-server"))
    ours, theirs = found.samples
    assert set(ours.figures) >= {"drain", "drain cpu"}
    assert set(theirs.figures) >= {"drain", "drain cpu"}
    assert all(value > 0 for value in (ours.figures["drain"], theirs.figures["drain"]))


@pytest.mark.slow
def test_a_laden_broker_is_measured_beside_an_empty_one(monkeypatch):
    monkeypatch.setattr(laden, "BALLASTS", ("queued",))
    found = run(TINY, [SQLITE], ["scale"], lambda *_: None)
    assert not found.failures
    figures = found.samples[0].figures
    for name in ("drain", "drain cpu", "enqueue 32", "enqueue bulk", "latency p50"):
        assert figures[f"{name} with queued"] > 0, name
    assert figures["kept per item, queued"] > 50
    assert figures["rss laden, queued"] > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("measure", "figures"),
    [
        ("loaded", {"loaded p50", "load", "load share"}),
        ("pair", {"1 process", "2 processes", "2 processes to 1"}),
        ("endings", {"succeed", "fail once", "fail for good cpu"}),
        ("soak", {"rss start", "rss growth, failing", "rss growth, cancelled waits"}),
    ],
)
def test_what_takes_several_processes_is_measured(measure, figures):
    found = run(TINY, [SQLITE], [measure], lambda *_: None)
    assert not found.failures
    assert figures <= set(found.samples[0].figures)


def test_calls_without_an_event_loop_are_measured_beside_those_on_one():
    found = run(TINY, [Variant("memory", "trio")], ["sync"], lambda *_: None)
    assert not found.failures
    (sample,) = found.samples
    assert sample.figures["send_sync"] > 0
    assert sample.figures["send_sync share"] > 0


def test_processes_are_measured_beside_a_pool_of_the_standard_library():
    found = run(TINY, [Variant("memory", "asyncio")], ["processes"], lambda *_: None)
    assert not found.failures
    (sample,) = found.samples
    for kind in ("1 ms in processes", "1 ms of cpu in processes"):
        for figure in (kind, f"{kind}, pool", f"{kind}, share"):
            assert sample.figures[figure] > 0, figure
