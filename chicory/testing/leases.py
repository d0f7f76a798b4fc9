"""Leases, those of one length in the order in which they end."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator

from chicory.testing.line import HeldLease, Message, Place


class Leases:
    """The leases that have not run out, as far as somebody looked. Guarded by the store's lock."""

    def __init__(self) -> None:
        self._rows: dict[float, OrderedDict[HeldLease, None]] = {}

    def __iter__(self) -> Iterator[HeldLease]:
        return (held for row in self._rows.values() for held in row)

    def give(self, held: HeldLease) -> None:
        """Lease a message that is in no other place; or again, while this is its latest lease."""
        message = held.message
        message.place = Place.LEASED
        message.held = held
        message.line.leased += 1
        row = self._rows.get(held.seconds)
        if row is None:
            row = self._rows[held.seconds] = OrderedDict()
        row[held] = None

    def extend(self, held: HeldLease) -> None:
        """Take note that it ends later than all of its length."""
        self._rows[held.seconds].move_to_end(held)

    def remove(self, held: HeldLease) -> None:
        """End it."""
        del self._rows[held.seconds][held]
        held.message.line.leased -= 1

    def next_end(self) -> float:
        """When the first one ends; ``inf`` where there is none."""
        ends = (next(iter(row)).expires for row in self._rows.values() if row)
        return min(ends, default=math.inf)

    def pop_ended(self, now: float) -> Iterator[Message]:
        """End those whose time is over; their messages."""
        for row in self._rows.values():
            while row and (held := next(iter(row))).expires <= now:
                self.remove(held)
                yield held.message
