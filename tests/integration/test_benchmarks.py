from __future__ import annotations

from msgspec.structs import replace

from benchmarks.contender import CONTENDERS
from benchmarks.run import run
from benchmarks.scale import QUICK
from benchmarks.variant import Variant


def test_chicory_and_a_bare_client_are_measured_by_the_same_harness():
    floor = next(one.variant for one in CONTENDERS if one.name == "raw-redis")
    scale = replace(QUICK, drained=60)
    found = run(scale, [Variant("redis", "asyncio"), floor], ["drain"], lambda *_: None)
    assert not found.failures
    assert all(found.machine[name][0].isdigit() for name in ("redis-server", "nats-server"))
    ours, theirs = found.samples
    assert set(ours.figures) >= {"drain", "drain cpu"}
    assert set(theirs.figures) >= {"drain", "drain cpu"}
    assert all(value > 0 for value in (ours.figures["drain"], theirs.figures["drain"]))
