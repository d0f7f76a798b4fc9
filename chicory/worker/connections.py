"""The connections of a worker: of its own, neither the app's nor shared with anybody."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

import anyio

from chicory.app import Chicory
from chicory.errors import ChicoryError
from chicory.logs import unfailing
from chicory.masking import mask
from chicory.transport import Transport

FAREWELL = 10.0
"""Seconds that a worker waits for a broker to close a connection."""

logger = unfailing("chicory.worker")


def clones(app: Chicory) -> list[Transport]:
    """Unopened transports: the broker's, and the backend's where that is another server."""
    links = [app.broker_link]
    if app.backend_link is not None and app.backend_link is not links[0]:
        links.append(app.backend_link)
    return [link.template.clone() for link in links]


@asynccontextmanager
async def opened(app: Chicory, worker_id: str) -> AsyncGenerator[list[Transport]]:
    """Connected transports, as ``clones`` are. Raises as ``Transport.open`` does."""
    transports = clones(app)
    try:
        for transport, url in zip(transports, (app.broker_url, app.backend_url), strict=False):
            await transport.open()
            logger.info("worker %s: connected to %s", worker_id, mask(url or ""))
        yield transports
    finally:
        with anyio.move_on_after(FAREWELL, shield=True) as patience:
            for transport in transports:
                with suppress(ChicoryError):  # all is done; a broker that is gone is no error
                    await transport.close()
        if not patience.cancelled_caught:
            logger.info("worker %s: connections closed", worker_id)
