"""Records, and where calls stand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chicory.transport import Record, Stage, Standing
from chicory_redis import keys
from chicory_redis.server import Server
from chicory_redis.settling import encode_record

_MOST = 256


async def store(server: Server, records: Sequence[Record]) -> None:
    """Store or delete records."""
    for start in range(0, len(records), _MOST):
        arguments: list[Any] = []
        for record in records[start : start + _MOST]:
            arguments += (record.task_id, *encode_record(record))
        await server.run("store", *arguments)


async def look_up(server: Server, task_ids: Sequence[str]) -> list[Standing]:
    """Say where calls stand."""
    standings: list[Standing] = []
    for start in range(0, len(task_ids), _MOST):
        answer = await server.run("look_up", *task_ids[start : start + _MOST])
        standings += map(_standing, answer[::2], answer[1::2])
    return standings


def _standing(running: int, body: bytes | None) -> Standing:
    if running:
        return Standing(Stage.RUNNING, body)
    return Standing(Stage.WAITING if body is None else Stage.RECORDED, body)


async def bodies(server: Server, task_ids: Sequence[str]) -> list[bytes | None]:
    """What is stored, or ``None``."""
    found: list[bytes | None] = []
    for start in range(0, len(task_ids), _MOST):
        part = task_ids[start : start + _MOST]
        found += await server.command("MGET", *[keys.record(server.base, one) for one in part])
    return found
