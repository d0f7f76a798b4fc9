"""``chicory queues``: what waits, runs and has died."""

from __future__ import annotations

from typing import Any

import anyio

from chicory.app import Chicory
from chicory.cli.locate import Address, reach
from chicory.cli.output import AsJSON, show


def queues(app: Address, /, *, as_json: AsJSON = False) -> None:
    """Count each queue: ready, delayed, running and dead messages, and its workers."""

    async def ask() -> list[dict[str, Any]]:
        async with reach(app) as opened:
            return await _rows(opened)

    show(anyio.run(ask), as_json=as_json, empty="all queues are empty")


async def _rows(app: Chicory) -> list[dict[str, Any]]:
    return [
        {
            "queue": queue,
            "ready": counts.ready,
            "delayed": counts.delayed,
            "running": counts.leased,
            "dead": counts.dead,
            "paused": counts.paused,
            "workers": await app.broker.get_consumer_count(queue),
        }
        for queue, counts in (await app.broker.counts()).items()
    ]
