"""Verbs that happen whole although their caller is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from anyio import CancelScope

T = TypeVar("T")


async def whole(verb: Coroutine[Any, Any, T]) -> T:
    """Run a verb to its end; a caller that is cancelled meanwhile learns of it then."""
    task = asyncio.get_running_loop().create_task(verb)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await ended(task)
        raise


async def ended(task: asyncio.Task[Any]) -> None:
    """Wait for the end of a task that cannot be cancelled; its error is taken note of."""
    with CancelScope(shield=True):
        while not task.done():
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError:
                continue
    if not task.cancelled():
        task.exception()
