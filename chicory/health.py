"""Whether the doors are open: answers measured when asked, not remembered."""

from __future__ import annotations

from msgspec import Struct


class BrokerStatus(Struct, frozen=True):
    """Whether the broker answers now, and why not."""

    connected: bool
    error: str | None = None


class BackendStatus(Struct, frozen=True):
    """Whether the backend answers now, and why not."""

    connected: bool
    error: str | None = None
