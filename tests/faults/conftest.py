"""A fleet of worker processes, and the seed of what happens to them."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))

from fleet import Fleet
from program import Gate
from servers.brokers import broker, nats_url, no_settings, redis_url

__all__ = ["broker", "nats_url", "no_settings", "redis_url"]  # fixtures

LEASE = 2.0


def pytest_collection_modifyitems(items):
    here = str(Path(__file__).parent)
    for item in items:  # of all folders
        if str(item.path).startswith(here):
            item.add_marker(pytest.mark.faults)
            item.add_marker(pytest.mark.slow)


@pytest.fixture
def chance() -> random.Random:
    """Repeat a failure with CHICORY_FAULTS_SEED=<what it printed>."""
    seed = int(os.environ.get("CHICORY_FAULTS_SEED") or random.SystemRandom().randrange(2**32))
    print(f"CHICORY_FAULTS_SEED={seed}")  # noqa: T201  (shown where the test fails)
    return random.Random(seed)


@pytest.fixture
def gate(tmp_path) -> Iterator[Gate]:
    """What calls hold at until a test opens it."""
    made = Gate(tmp_path / "gate")
    yield made
    made.open()


@pytest.fixture
async def fleet(broker, tmp_path, anyio_backend, monkeypatch) -> AsyncIterator[Fleet]:
    monkeypatch.setenv("CHICORY_LEASE", str(LEASE))
    fleet = Fleet(broker, tmp_path, anyio_backend)
    async with fleet.app:
        try:
            yield fleet
        finally:
            fleet.close()
            print((tmp_path / "workers.log").read_text()[-20_000:])  # noqa: T201  (likewise)
