"""The messages of one queue, in the order in which they are fetched."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import OrderedDict
from enum import Enum
from operator import attrgetter

from msgspec import Struct

from chicory.signal import Signal
from chicory.transport import Delivery, Priority


class Place(Enum):
    """Where a live message is."""

    READY = "ready"
    DELAYED = "delayed"
    LEASED = "leased"


class Message(Struct, eq=False):
    """A live message.

    ``position`` is given by the publication and kept by delays, releases and lost leases; of the
    ready ones of a level the lowest goes first.
    ``held`` is the latest lease, also after it ran out, until somebody else has the message.
    """

    line: Line
    task_id: str
    body: bytes
    priority: Priority
    key: str | None
    position: int
    place: Place = Place.READY
    due: float = 0.0
    deliveries: int = 0
    held: HeldLease | None = None
    cancelled: bool = False


class HeldLease(Struct, eq=False):
    """A lease: its holder's receipt."""

    message: Message
    seconds: float
    expires: float

    def delivery(self) -> Delivery:
        """What its holder is told."""
        message = self.message
        return Delivery(
            message.line.name,
            message.task_id,
            message.body,
            message.priority,
            message.deliveries,
            self,
            message.cancelled,
        )


_position = attrgetter("position")


class Level:
    """The ready messages of one priority: those in order, and those that came late."""

    def __init__(self) -> None:
        self._row: OrderedDict[int, Message] = OrderedDict()
        self._late: list[Message] = []

    def __len__(self) -> int:
        return len(self._row) + len(self._late)

    def add(self, message: Message) -> None:
        """Put a message where its position has it."""
        row, position = self._row, message.position
        if not row or next(reversed(row)) < position:
            row[position] = message
        else:
            insort(self._late, message, key=_position)

    def pop(self) -> Message:
        """Take the first one."""
        late = self._late
        if late and (not self._row or late[0].position < next(iter(self._row))):
            return late.pop(0)
        return self._row.popitem(last=False)[1]

    def remove(self, message: Message) -> None:
        """Take this one."""
        if self._row.pop(message.position, None) is None:
            del self._late[bisect_left(self._late, message.position, key=_position)]

    def all(self) -> list[Message]:
        """Look at all."""
        return [*self._late, *self._row.values()]


class Line:
    """One queue: ready messages by priority, how many are elsewhere, and who waits for more."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.levels = tuple(Level() for _ in Priority)  # the highest first
        self.delayed = 0
        self.leased = 0
        self.paused = False
        self.hungry: dict[Signal, None] = {}  # who came first is woken first

    @property
    def ready(self) -> int:
        """How many could be fetched now, were the queue not paused."""
        return sum(map(len, self.levels))
