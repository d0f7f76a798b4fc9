"""Runs of the fault harness on each transport: nothing lost, nothing twice."""

from __future__ import annotations

import pytest

from chicory.testing.faults.disk import Disk
from chicory.testing.faults.report import lines
from chicory.testing.faults.run import Plan, run
from chicory.testing.faults.stages import STAGES

LEASE = 3.0
RESCUE = LEASE + 6
"""Seconds until what a dead worker held runs elsewhere: the lease, and a crowded machine."""
RECOVERY = 5.0


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize(
    ("transport", "seed", "backend"),
    [("sqlite", 1, "trio"), ("redis", 2, "asyncio"), ("nats", 3, "trio")],
)
async def test_a_run_of_two_thousand_calls_and_fifteen_faults(
    tmp_path, no_settings, transport, seed, backend
):
    (tmp_path / "broker").mkdir()
    plan = Plan(seed, tasks=2000, faults=15, lease=LEASE, backend=backend)

    outcome = await run(STAGES[transport](tmp_path / "broker"), tmp_path, plan)

    said = "\n".join(lines(outcome))
    assert outcome.held, said
    assert outcome.figures.accepted >= plan.tasks * 0.9, said
    assert sum(outcome.figures.faults.values()) == plan.faults
    assert outcome.figures.rescued_within(0.5) < RESCUE, said
    assert max(outcome.figures.recoveries, default=0) < RECOVERY, said


on_a_disk = pytest.mark.skipif(not Disk.possible(), reason="to mount a disk needs root, and Linux")


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize(
    ("transport", "fault"),
    [
        ("redis-everysec", "broker killed"),
        ("redis-sentinel", "primary killed"),
        ("redis-sentinel", "primary stands still"),
        ("redis-cluster", "node killed"),
        ("nats-cluster", "leader killed"),
        ("nats-cluster", "follower killed"),
        ("nats-cluster", "leader stands still"),
        pytest.param("redis-disk", "disk full", marks=on_a_disk),
        pytest.param("nats-disk", "disk full", marks=on_a_disk),
        *((transport, "producer killed") for transport in ("sqlite", "redis", "nats")),
    ],
)
async def test_a_run_in_which_a_part_of_the_surroundings_dies(
    tmp_path, no_settings, transport, fault
):
    (tmp_path / "broker").mkdir()
    plan = Plan(9, tasks=500, faults=2, lease=LEASE, only=(fault,))

    outcome = await run(STAGES[transport](tmp_path / "broker"), tmp_path, plan)

    said = "\n".join(lines(outcome))
    assert outcome.held, said
    assert outcome.figures.faults == {fault: 2}
    assert max(outcome.figures.recoveries, default=0) < RECOVERY, said
