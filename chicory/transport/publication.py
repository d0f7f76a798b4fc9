"""A message on its way to a queue, and what became of it."""

from __future__ import annotations

from enum import IntEnum
from typing import TypeAlias

from msgspec import Struct

MAX_NAME = 255
"""Characters of a queue name, an id, a unique key."""


class Priority(IntEnum):
    """Strict levels within a queue: no ``NORMAL`` message is fetched while a ``HIGH`` one waits."""

    LOW = 0
    NORMAL = 1
    HIGH = 2


class Unique(Struct, frozen=True):
    """At most one live message may hold ``key``; it is held for ``ttl`` seconds at most."""

    key: str
    ttl: float


class Publication(Struct, frozen=True, gc=False):
    """One message to be put on a queue.

    Attributes:
        queue: name of the queue.
        task_id: identity of the call; at most one live message has it.
        body: the encoded message, opaque to the transport.
        priority: level within the queue.
        not_before: earliest time of delivery, 0 for at once; durable, days ahead.
        unique: the key that this message holds until it is settled for good.
    """

    queue: str
    task_id: str
    body: bytes
    priority: Priority = Priority.NORMAL
    not_before: float = 0.0
    unique: Unique | None = None


class Accepted(Struct, frozen=True):
    """The message is stored."""


class Duplicate(Struct, frozen=True):
    """Nothing was stored: the living message ``task_id`` has the same id or unique key."""

    task_id: str


PublishOutcome: TypeAlias = Accepted | Duplicate
