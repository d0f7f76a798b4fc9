"""The subjects of a namespace.

Everything that happens to one call is a message whose subject ends in the call's token::

    <root>.m.<kind>.<queue>.<level>.<call>

so that ``<root>.m.*.*.*.<call>`` is the thread of the call, and its last sequence number the
fence that every change of the call is guarded by. The kinds are those of ``Kind``. Dead letters
have one token more, and so are part of no thread::

    <root>.m.d.<queue>.<level>.<letter>.<call>
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from chicory.transport import Priority
from chicory_nats.names import NOTHING, token


class Kind:
    """What a message of a thread is; the token after ``m``.

    Attributes:
        QUEUED: the message, which can be fetched, or is leased.
        SCHEDULED: the message, until its time has come.
        MARK: who holds the lease, where that is not the first one to have fetched the message.
        RECORD: the record, which may be the outcome as well.
        END: the outcome where it has no record; soon forgotten.
        RENEWAL: until when the lease was renewed.
        REQUEST: somebody asks for the call to be cancelled.
        BAR: nothing, but that the thread has changed.
        DEAD: a dead letter.
        OF_THREADS: those that are part of a thread.
    """

    QUEUED = b"q"
    SCHEDULED = b"s"
    MARK = b"c"
    RECORD = b"r"
    END = b"e"
    RENEWAL = b"l"
    REQUEST = b"x"
    BAR = b"v"
    DEAD = b"d"

    OF_THREADS = (QUEUED, SCHEDULED, MARK, RECORD, END, RENEWAL, REQUEST, BAR)


class Place(Struct, frozen=True):
    """Where a message is: the tokens of its queue and its call, and its level."""

    queue: bytes
    level: int
    call: bytes


class Subjects:
    """Builds and reads the subjects of one namespace."""

    def __init__(self, namespace: str) -> None:
        name = token(namespace)
        self.stream = f"CHICORY_{name}"
        self.root = b"chicory.%b" % name.encode()
        self._nothing = NOTHING.encode()

    def message(self, kind: bytes, place: Place) -> bytes:
        """The subject of a message that has a queue."""
        return b"%b.m.%b.%b.%d.%b" % (self.root, kind, place.queue, place.level, place.call)

    def about(self, kind: bytes, call: bytes) -> bytes:
        """The subject of what is said about a call, wherever its message is."""
        return b"%b.m.%b.%b.%b.%b" % (self.root, kind, self._nothing, self._nothing, call)

    def thread(self, call: bytes) -> bytes:
        """All of a call."""
        return b"%b.m.*.*.*.%b" % (self.root, call)

    def records(self) -> bytes:
        """The records of all calls."""
        return b"%b.m.r.>" % self.root

    def pushed(self, call: bytes) -> bytes:
        """Where the server publishes a record once it is stored."""
        return b"%b.%b.%b.%b" % (self.push_root(), self._nothing, self._nothing, call)

    def push_root(self) -> bytes:
        """What is in front of the call where records are pushed."""
        return b"chicory-push.%b" % self.root.partition(b".")[2]

    def level(self, queue: bytes, level: int, kind: bytes = Kind.QUEUED) -> bytes:
        """All messages of a kind that one level of a queue has."""
        return b"%b.m.%b.%b.%d.>" % (self.root, kind, queue, level)

    def of_queue(self, kind: bytes, queue: bytes) -> bytes:
        """All messages of a kind that a queue has; ``*`` for every kind."""
        return b"%b.m.%b.%b.>" % (self.root, kind, queue)

    def letter(self, queue: bytes, level: int, letter: bytes, call: bytes) -> bytes:
        """The subject of a dead letter."""
        return b"%b.m.d.%b.%d.%b.%b" % (self.root, queue, level, letter, call)

    def find_letter(self, letter: bytes) -> bytes:
        """The dead letter of an id."""
        return b"%b.m.d.*.*.%b.*" % (self.root, letter)

    def letters(self, queue: bytes | None) -> bytes:
        """The dead letters of a queue, or all."""
        return b"%b.m.d.%b" % (self.root, b">" if queue is None else queue + b".>")

    def queue(self, queue: bytes) -> bytes:
        """What is known of a queue; ``*`` for all queues."""
        return b"%b.k.%b" % (self.root, queue)

    def lock(self, queue: bytes) -> bytes:
        """Held by who changes a queue as a whole."""
        return b"%b.y.%b" % (self.root, queue)

    def unique(self, key: str) -> bytes:
        """Who holds a unique key."""
        return b"%b.u.%b" % (self.root, token(key).encode())

    def worker(self, worker: bytes) -> bytes:
        """A worker's heartbeat; ``*`` for all."""
        return b"%b.w.%b" % (self.root, worker)

    def boot(self) -> bytes:
        """Which start of the server is known."""
        return b"%b.b" % self.root

    def ballast(self) -> bytes:
        """What is thrown out where there is no room."""
        return b"%b.z" % self.root

    def void(self) -> bytes:
        """Where nothing is ever published."""
        return b"%b.v" % self.root


def place_of(queue: str, level: int, task_id: str) -> Place:
    """The place of a message."""
    return Place(token(queue).encode(), level, token(task_id).encode())


def kind_and_place(subject: bytes) -> tuple[bytes, Place]:
    """Read the subject of a message of a thread."""
    *_, kind, queue, level, call = subject.split(b".")
    return kind, Place(queue, int(level) if level.isdigit() else 0, call)


def levels() -> Iterable[int]:
    """The levels of a queue, the one that is served first in front."""
    return sorted(Priority, reverse=True)
