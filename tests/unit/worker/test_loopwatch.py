"""The watch over the event loop: what it takes for a block, on a clock that the test moves."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from chicory import WorkerConfig
from chicory.worker import loopwatch
from chicory.worker.freshness import Freshness
from chicory.worker.loopwatch import LoopWatch
from chicory.worker.ward import Ward

CONFIG = WorkerConfig(blocked_loop_warning=1.0, blocked_loop_limit=10.0)
LONG = 100.0


class _Loop:
    """The worker's event loop, which takes its time."""

    key = object()

    def __init__(self, take: Callable[[Callable[[], object]], None]) -> None:
        self._take = take

    def call_soon(self, function: Callable[..., object], *args: Any) -> bool:
        asyncio.get_running_loop().call_soon(self._take, function)
        return True


@pytest.fixture
def now(monkeypatch) -> list[float]:
    """The monotonic clock."""
    now = [1000.0]
    monkeypatch.setattr(loopwatch, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


def _watch(take: Callable[[Callable[[], object]], None], now: list[float]) -> Ward:
    """Let it ask once; the ward as it is then."""
    shift: Any = SimpleNamespace(intake=SimpleNamespace(freshness=Freshness()), held={})
    ward = Ward(_Loop(take), shift, lambda: pytest.fail("no heartbeat"), lambda _: None, print)
    ward.lag = math.nan

    async def check() -> None:
        asyncio.get_running_loop().time = lambda: now[0]  # type: ignore[method-assign]
        watching = asyncio.create_task(LoopWatch(ward, CONFIG, stale_after=1.0).run())
        while math.isnan(ward.lag):  # noqa: ASYNC110  (a turn of the loop at a time)
            await asyncio.sleep(0)
        watching.cancel()
        await asyncio.wait([watching])

    asyncio.run(check())
    return ward


def test_that_the_watch_itself_was_kept_waiting_is_no_block(now, caplog):
    def answer_and_keep_the_watch(answer: Callable[[], object]) -> None:
        now[0] += 0.5
        answer()
        now[0] += LONG

    with caplog.at_level(logging.WARNING, "chicory.worker"):
        ward = _watch(answer_and_keep_the_watch, now)

    assert ward.lag == 0.5
    assert not caplog.records


def test_what_is_owed_for_long_is_a_block(now, caplog):
    def keep_waiting(answer: Callable[[], object]) -> None:
        now[0] += LONG
        asyncio.get_running_loop().call_later(LONG, answer)
        asyncio.get_running_loop().call_soon(hurry)

    def hurry() -> None:  # once the watch has looked
        if len(caplog.records) == 2:
            now[0] += LONG
        else:
            asyncio.get_running_loop().call_soon(hurry)

    with caplog.at_level(logging.WARNING, "chicory.worker"):
        ward = _watch(keep_waiting, now)

    assert ward.lag == 2 * LONG
    assert [record.levelname for record in caplog.records] == ["WARNING", "CRITICAL", "WARNING"]
    assert "blocked for 100.0 s" in caplog.messages[0]
    assert "giving up the leases" in caplog.messages[1]
    assert "answers again" in caplog.messages[2]
