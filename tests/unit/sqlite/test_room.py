"""A file that may not grow: publishing is refused, settling is not."""

from __future__ import annotations

import sqlite3

import pytest
from anyio import create_task_group

from chicory.errors import QueueFullError
from chicory.transport import Accepted, Done, Publication, Record, Settled

SIZE = 2_000_000
BODY = bytes(10_000)


async def fill(transport) -> int:
    for number in range(2 * SIZE // len(BODY)):
        try:
            await transport.publish([Publication("q", str(number), BODY)])
        except QueueFullError:
            return number
    raise AssertionError("it never was full")


async def test_beyond_max_size_publishing_is_refused_and_nothing_is_lost(make, path):
    async with make(f"?max_size={SIZE}") as transport:
        stored = await fill(transport)

        with pytest.raises(QueueFullError, match=f"max_size={SIZE}"):
            await transport.publish([Publication("q", "late", BODY)])
        assert (await transport.counts())["q"].ready == stored > 100
    assert path.stat().st_size <= SIZE


async def test_what_was_stored_before_can_be_settled_with_its_record(make):
    async with make(f"?max_size={SIZE}") as transport:
        stored = await fill(transport)
        deliveries = await transport.fetch(["q"], stored, 0)

        settled = await transport.settle(
            [Done(each.receipt, Record(each.task_id, b"r" * 100, 60)) for each in deliveries]
        )

        assert settled == [Settled.SETTLED] * stored
        assert await transport.publish([Publication("q", "next", BODY)]) == [Accepted()]


async def test_a_refused_batch_takes_nobody_else_along(make):
    async with make(f"?max_size={SIZE}") as transport:
        outcomes = {}

        async def publish(name: str, body: bytes) -> None:
            try:
                outcomes[name] = await transport.publish([Publication("q", name, body)])
            except QueueFullError:
                outcomes[name] = "full"

        async with create_task_group() as group:
            group.start_soon(publish, "small", b"")
            group.start_soon(publish, "huge", bytes(2 * SIZE))
            group.start_soon(publish, "other", b"")

        assert outcomes == {"small": [Accepted()], "huge": "full", "other": [Accepted()]}


async def test_sqlite_errors_stay_as_the_cause(make):
    async with make(f"?max_size={SIZE}") as transport:
        with pytest.raises(QueueFullError) as caught:
            await transport.publish([Publication("q", "1", bytes(2 * SIZE))])

    assert isinstance(caught.value.__cause__, sqlite3.Error)
