"""A worker while a test runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from anyio import CancelScope, fail_after

from chicory import Worker


@asynccontextmanager
async def at_work(worker: Worker, patience: float) -> AsyncIterator[Worker]:
    """Start it; at the end it is stopped, without waiting."""
    with fail_after(patience):
        await worker.start()
        try:
            yield worker
        finally:
            with CancelScope(shield=True):
                await worker.stop(timeout=0)
