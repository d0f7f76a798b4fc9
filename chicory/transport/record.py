"""What is known of a call."""

from __future__ import annotations

from enum import Enum

from msgspec import Struct


class Record(Struct, frozen=True):
    """The latest thing known of a call: its result, or an interim state. Opaque bytes.

    Attributes:
        task_id: the call.
        body: the encoded record; ``None`` deletes what is stored.
        ttl: seconds until it is forgotten.
    """

    task_id: str
    body: bytes | None
    ttl: float


class Stage(Enum):
    """Where ``look_up`` found a call.

    ``WAITING`` is also the answer for a call that was never published, or forgotten.
    """

    WAITING = "waiting"
    RUNNING = "running"
    RECORDED = "recorded"


class Standing(Struct, frozen=True):
    """What is known of a call; ``record`` is the latest record stored, where there is one."""

    stage: Stage
    record: bytes | None = None
