"""How a transport is opened."""

from __future__ import annotations

from msgspec import Struct

from chicory.clock import Clock, SystemClock
from chicory.masking import Discreet

DEFAULT_LEASE = 8.0
"""Seconds. A worker killed at any moment has its tasks fetched elsewhere within this time."""


class TransportSettings(Discreet, Struct, frozen=True, kw_only=True):
    """How to open a transport.

    Attributes:
        url: address of the broker; ``scheme://...``.
        namespace: keeps several applications on one broker apart.
        lease: seconds after which a delivery that nobody renews is fetched by another worker.
        clock: the time for leases and delays, where the broker has none of its own.
        create: whether ``open`` makes a store that is not there; otherwise ``ConfigurationError``.
            For transports to a server, which is there or not, it means nothing.
    """

    url: str
    namespace: str = "chicory"
    lease: float = DEFAULT_LEASE
    clock: Clock = SystemClock()
    create: bool = True
