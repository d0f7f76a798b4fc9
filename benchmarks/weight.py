"""What a broker holds, and the memory that it takes to do so."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from nats.aio.client import Client
from redis import Redis

from benchmarks.footprint import resident_of
from benchmarks.job import Figures
from benchmarks.server import Place


def weight(place: Place) -> Figures:
    """Bytes: what the broker says that it holds, and its process in memory."""
    server = resident_of(place.server) * 2**20 if place.server else 0.0
    return {"kept": _kept(place.url), "server": server}


def added(before: Figures, after: Figures, count: int) -> Figures:
    """What each of so many things has added."""
    return {name: (after[name] - before[name]) / count for name in after}


def _kept(url: str) -> float:
    if url.startswith("redis"):
        return _redis(url)
    if url.startswith("nats"):
        return asyncio.run(_nats(url))
    return _sqlite(Path(url.removeprefix("sqlite:///")))


def _redis(url: str) -> float:
    with Redis.from_url(url) as client:  # pyright: ignore[reportUnknownMemberType]
        memory: Any = client.info("memory")  # pyright: ignore[reportUnknownMemberType]
        return float(memory["used_memory"])


async def _nats(url: str) -> float:
    client = Client()
    await client.connect(url)
    try:
        stream = client.jetstream()  # pyright: ignore[reportUnknownMemberType]
        return float((await stream.account_info()).storage)
    finally:
        await client.close()


def _sqlite(path: Path) -> float:
    """The file and what is yet to be written into it."""
    return float(sum(part.stat().st_size for part in path.parent.glob(f"{path.name}*")))
