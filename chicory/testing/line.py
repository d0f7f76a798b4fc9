"""The messages of one queue, in the order in which they are fetched."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import OrderedDict
from enum import Enum
from operator import attrgetter

from msgspec import Struct

from chicory.signal import Signal
from chicory.transport import Priority


class Place(Enum):
    """Where a live message is."""

    READY = "ready"
    DELAYED = "delayed"
    LEASED = "leased"


class Message(Struct, eq=False):
    """A live message. ``position`` orders the ready ones of a level; a lower one goes first.

    ``held`` is the latest lease, also after it ran out, until somebody else has the message.
    """

    line: Line
    task_id: str
    body: bytes
    priority: Priority
    key: str | None
    place: Place = Place.READY
    position: int = 0
    due: float = 0.0
    deliveries: int = 0
    held: HeldLease | None = None
    cancelled: bool = False


class HeldLease(Struct, eq=False):
    """A lease: its holder's receipt."""

    message: Message
    seconds: float
    expires: float


_position = attrgetter("position")


class Level:
    """The ready messages of one priority: the new ones, and those that came back."""

    def __init__(self) -> None:
        self._fresh: OrderedDict[int, Message] = OrderedDict()
        self._returned: list[Message] = []

    def __len__(self) -> int:
        return len(self._fresh) + len(self._returned)

    def append(self, message: Message) -> None:
        """Add behind all others; ``position`` is higher than any before."""
        self._fresh[message.position] = message

    def put_back(self, message: Message) -> None:
        """Add at the place that the message had."""
        insort(self._returned, message, key=_position)

    def pop(self) -> Message:
        """Take the first one."""
        returned = self._returned
        if returned and (not self._fresh or returned[0].position < next(iter(self._fresh))):
            return returned.pop(0)
        return self._fresh.popitem(last=False)[1]

    def remove(self, message: Message) -> None:
        """Take this one."""
        if self._fresh.pop(message.position, None) is None:
            del self._returned[bisect_left(self._returned, message.position, key=_position)]

    def all(self) -> list[Message]:
        """Look at all."""
        return [*self._returned, *self._fresh.values()]


class Line:
    """One queue: ready messages by priority, how many are elsewhere, and who waits for more."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.levels = tuple(Level() for _ in Priority)  # the highest first
        self.delayed = 0
        self.leased = 0
        self.paused = False
        self.hungry: set[Signal] = set()

    @property
    def ready(self) -> int:
        """How many could be fetched now, were the queue not paused."""
        return sum(map(len, self.levels))
