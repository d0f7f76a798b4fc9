from __future__ import annotations

import anyio
import pytest

from benchmarks.echoing import echoes


@pytest.fixture
def asked() -> list[float]:
    return []


@pytest.fixture
def ask(asked):
    async def ask(begin: float) -> float:
        asked.append(begin)
        await anyio.lowlevel.checkpoint()
        return 0.002

    return ask


async def test_calls_are_timed_after_one_that_is_not(asked, ask):
    found = await echoes(ask, anyio.sleep, 3, 60, (0, 0))
    assert len(asked) == 4
    assert found["calls timed"] == 3
    assert found["wake-up p50"] == found["wake-up max"] == 2
    assert found["latency p50"] > 0
    assert "latency p99" not in found


async def test_no_more_calls_are_begun_when_time_is_up(asked, ask):
    found = await echoes(ask, anyio.sleep, 1000, 0, (0, 0))
    assert len(asked) == 2
    assert found["calls timed"] == 1
