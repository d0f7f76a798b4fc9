"""The proof of a lease."""

from __future__ import annotations

from msgspec import Struct

SERIES = 1_000_000
"""The delivery counter of an entry: this times its releases, plus its deliveries."""


class Ticket(Struct, frozen=True, cache_hash=True):
    """A receipt.

    Attributes:
        queue: where the message was fetched from.
        priority: its level.
        entry: the stream entry.
        counter: the entry's delivery counter; another lease of the entry has another one.
        consumer: in whose name it is leased.
        task_id: identity of the call.
        key: the unique key that the message holds; empty for none.
        before: deliveries counted before this entry was made.
    """

    queue: str
    priority: int
    entry: bytes
    counter: int
    consumer: str
    task_id: str
    key: str = ""
    before: int = 0

    @property
    def deliveries(self) -> int:
        """How often the message was fetched, this time included."""
        return self.before + self.counter % SERIES
