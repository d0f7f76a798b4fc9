"""A message on its way to a worker, and the lease that comes with it."""

from __future__ import annotations

from collections.abc import Hashable
from enum import Enum
from typing import TypeAlias

from msgspec import Struct

from chicory.transport.publication import Priority

Receipt: TypeAlias = Hashable
"""Proof of a lease: valid on every connection of this process; opaque outside the transport."""


class Delivery(Struct, frozen=True):
    """A message leased to one worker.

    Attributes:
        queue: where it was fetched from.
        task_id: identity of the call.
        body: the bytes published, unchanged.
        priority: its level.
        deliveries: how often it was fetched and neither settled nor released since it was
            published, this time included: 1, or more where a lease ran out.
        receipt: what ``renew`` and ``settle`` take.
        cancel_requested: somebody wanted the call cancelled while it was leased before.
    """

    queue: str
    task_id: str
    body: bytes
    priority: Priority
    deliveries: int
    receipt: Receipt
    cancel_requested: bool = False


class Lease(Enum):
    """What ``renew`` says of a delivery."""

    HELD = "held"
    LOST = "lost"
    CANCEL_REQUESTED = "cancel requested"
