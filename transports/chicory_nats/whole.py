"""Verbs that happen whole although their caller is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from anyio import CancelScope

from chicory_nats.connection import Connection

T = TypeVar("T")


_AWAY = 1.0
"""Seconds without a connection after which a caller that is cancelled is kept no longer."""


async def whole(verb: Coroutine[Any, Any, T], connection: Connection) -> T:
    """Run a verb to its end; a caller that is cancelled meanwhile learns of it then."""
    task = asyncio.get_running_loop().create_task(verb)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await ended(task, connection)
        raise


async def ended(task: asyncio.Task[Any], connection: Connection) -> None:
    """Wait for the end of a task that cannot be cancelled; its error is taken note of.

    Where there is no connection it goes on by itself: until there is one, or none in time, or
    until the connection is closed.
    """
    task.add_done_callback(_note)
    with CancelScope(shield=True):
        while not task.done():
            was_up, generation = connection.is_up, connection.generation
            try:
                await asyncio.wait([task], timeout=_AWAY)
            except asyncio.CancelledError:
                continue
            if not was_up and not connection.is_up and connection.generation == generation:
                break


def _note(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()
