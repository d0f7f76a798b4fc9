"""Delayed messages by the time at which they are due."""

from __future__ import annotations

import math
from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from itertools import count

from chicory.testing.line import Message, Place

_SLACK = 64


class Agenda:
    """A heap. A message that was taken out stays as a stale entry until half of them are."""

    def __init__(self) -> None:
        self._entries: list[tuple[float, int, Message]] = []
        self._serial = count()
        self._live: dict[Message, int] = {}

    def __iter__(self) -> Iterator[Message]:
        return iter(tuple(self._live))

    def add(self, message: Message) -> None:
        """Note a message for its ``due``."""
        serial = next(self._serial)
        message.place = Place.DELAYED
        message.line.delayed += 1
        self._live[message] = serial
        heappush(self._entries, (message.due, serial, message))

    def remove(self, message: Message) -> None:
        """Take a message out before its time."""
        del self._live[message]
        message.line.delayed -= 1
        if len(self._entries) > 2 * len(self._live) + _SLACK:
            self._entries = [entry for entry in self._entries if self._is_live(entry)]
            heapify(self._entries)

    def next_due(self) -> float:
        """When the first one is due; ``inf`` where there is none."""
        while self._entries and not self._is_live(self._entries[0]):
            heappop(self._entries)
        return self._entries[0][0] if self._entries else math.inf

    def pop_due(self, now: float) -> Iterator[Message]:
        """Take out what is due, in the order of time."""
        while self._entries and self.next_due() <= now:
            message = heappop(self._entries)[2]
            del self._live[message]
            message.line.delayed -= 1
            yield message

    def _is_live(self, entry: tuple[float, int, Message]) -> bool:
        return self._live.get(entry[2]) == entry[1]
