"""The links of an app to its servers."""

from __future__ import annotations

from chicory.clock import Clock
from chicory.config import ChicoryConfig
from chicory.discovery import open_transport
from chicory.session import Link
from chicory.transport import TransportSettings


def link(url: str, config: ChicoryConfig, clock: Clock, *, create: bool) -> Link:
    """A link that is opened when it is first used. Raises ``ConfigurationError`` for a bad URL."""
    settings = TransportSettings(
        url=url, namespace=config.namespace, lease=config.lease, clock=clock, create=create
    )
    return Link(open_transport(settings), clock, settings.lease)
