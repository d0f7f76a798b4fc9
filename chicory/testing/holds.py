"""Unique keys in use."""

from __future__ import annotations

from msgspec import Struct


class Hold(Struct):
    """A unique key in use."""

    task_id: str
    until: float


class Holds:
    """Who has which key, and until when. Guarded by the lock of the store that owns it.

    Attributes:
        by_key: the latest hold of each key, also after its time, until it is released.
    """

    def __init__(self) -> None:
        self.by_key: dict[str, Hold] = {}

    def holder(self, key: str, now: float) -> str | None:
        """The call that holds a key now."""
        hold = self.by_key.get(key)
        return hold.task_id if hold is not None and hold.until > now else None

    def take(self, key: str, task_id: str, until: float) -> None:
        """Give a call a key that nobody holds."""
        self.by_key[key] = Hold(task_id, until)

    def release(self, key: str, task_id: str) -> None:
        """Give up a key, where it is this call that has it."""
        hold = self.by_key.get(key)
        if hold is not None and hold.task_id == task_id:
            del self.by_key[key]
