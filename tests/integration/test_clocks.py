"""Who looks at workers may have another clock than the server that keeps their heartbeats."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import count

import pytest
from anyio import fail_after, sleep

from chicory import Chicory, WorkerStats
from chicory.clock import SystemClock

pytestmark = pytest.mark.parametrize("broker", ["redis", "nats"], indirect=True)

HOUR = 3600.0
PATIENCE = 60.0


class Wrong(SystemClock):
    def __init__(self, ahead: float) -> None:
        self._ahead = ahead

    def now(self) -> float:
        return super().now() + self._ahead


class Racing(SystemClock):
    """An hour passes between two looks at it: as where an answer is long on its way."""

    def __init__(self) -> None:
        self._looks = count()

    def now(self) -> float:
        return super().now() + next(self._looks) * HOUR


@pytest.fixture(params=[HOUR, -HOUR], ids=["an hour ahead", "an hour behind"])
async def reader(broker: str, request: pytest.FixtureRequest) -> AsyncIterator[Chicory]:
    async with Chicory(broker, clock=Wrong(request.param)) as app:
        yield app


@pytest.fixture
async def late_reader(broker: str) -> AsyncIterator[Chicory]:
    async with Chicory(broker, clock=Racing()) as app:
        yield app


@pytest.fixture
async def writer(broker: str) -> AsyncIterator[Chicory]:
    async with Chicory(broker) as app:
        yield app


def heartbeat() -> WorkerStats:
    return WorkerStats(worker_id="w", hostname="h", pid=1, queue="q", concurrency=1)


async def test_a_live_worker_is_listed_and_kept_by_who_has_a_wrong_clock(writer, reader):
    await writer.backend.store_heartbeat("w", heartbeat(), PATIENCE)

    (seen,) = await reader.backend.get_active_workers()

    assert abs(reader.clock.now() - seen.last_heartbeat.timestamp()) < PATIENCE
    assert await reader.broker.get_consumer_count("q") == 1
    assert await reader.broker.cleanup_stale_clients(None, PATIENCE) == 0


async def test_a_dead_worker_is_not_listed_by_who_has_a_wrong_clock(writer, reader):
    await writer.backend.store_heartbeat("w", heartbeat(), 0.001)

    with fail_after(PATIENCE):
        while await reader.backend.get_active_workers():  # noqa: ASYNC110  (nobody tells)
            await sleep(0.01)

    assert await reader.broker.get_consumer_count("q") == 0


async def test_a_worker_that_died_before_the_answer_came_is_dead(writer, late_reader):
    await writer.backend.store_heartbeat("w", heartbeat(), 0.001)

    assert await late_reader.backend.get_active_workers() == []
    assert await late_reader.broker.get_consumer_count("q") == 0
