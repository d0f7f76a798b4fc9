"""The port: what every broker must be able to do, and promise, for chicory.

A transport translates; it does not decide. It knows queues, leases and bytes; it never looks
into a body, retries a task, or sleeps between attempts. ``chicory.testing.contract`` holds
the suite that proves an implementation, and ``chicory.testing.memory`` the reference.

Rules for every verb:

* **Atomic per item.** Each item of a batch happens whole or not at all, also when the process
  is killed in the middle of the call; the items of one batch are independent of one another.
* **Safe to send again.** A verb whose answer was lost may be repeated unchanged.
* **Durable when it returns**, as far as the server's persistence goes.
* **Cancellation loses nothing.** A cancelled verb has done its work or has not begun; nothing
  stays claimed or half done. ``fetch`` either raises the cancellation having leased nothing,
  or returns what it leased.
* **Errors.** ``BrokerConnectionError``: no answer, try again. ``QueueFullError``: the broker
  has no room. Both leave the items of the batch either done whole or not begun. No exception
  of a client library crosses the port.
* **Time** is seconds: points in time since the epoch, as ``float``; durations as ``float``.
* Text (queue names, ids, keys) is any ``str`` of 1 to 255 characters; a transport escapes what
  its broker reserves.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from enum import Enum, IntEnum
from types import TracebackType
from typing import Protocol, Self, TypeAlias

from msgspec import Struct

from chicory.clock import Clock, SystemClock
from chicory.masking import Discreet

MAX_NAME = 255
"""Characters of a queue name, an id, a unique key."""
DEFAULT_LEASE = 8.0
"""Seconds. A worker killed at any moment has its tasks fetched elsewhere within this time."""


class Priority(IntEnum):
    """Strict levels within a queue: no ``NORMAL`` message is fetched while a ``HIGH`` one waits."""

    LOW = 0
    NORMAL = 1
    HIGH = 2


class Abilities(Struct, frozen=True):
    """What a transport can do beyond the verbs; read at start-up to refuse what cannot work.

    Attributes:
        shared: processes on other machines can connect.
        cross_process: other processes on this machine can connect.
        durable: messages survive a crash of the process and of the broker.
        together: settlements of a worker that are better under way together than one after the
            other.
        bulk: messages that are best published in one call, where there are many.
        max_size: bytes of a body or record that the broker takes; where it is the server that
            says so, this is known of an instance once it is open.
    """

    shared: bool
    cross_process: bool
    durable: bool
    together: int = 1
    bulk: int = 256
    max_size: int = sys.maxsize


class TransportSettings(Discreet, Struct, frozen=True, kw_only=True):
    """How to open a transport.

    Attributes:
        url: address of the broker; ``scheme://...``.
        namespace: keeps several applications on one broker apart.
        lease: seconds after which a delivery that nobody renews is fetched by another worker.
        clock: the time for leases and delays, where the broker has none of its own.
        create: whether ``open`` makes a store that is not there; otherwise ``ConfigurationError``.
            For transports to a server, which is there or not, it means nothing.
    """

    url: str
    namespace: str = "chicory"
    lease: float = DEFAULT_LEASE
    clock: Clock = SystemClock()
    create: bool = True


class Unique(Struct, frozen=True):
    """At most one live message may hold ``key``; it is held for ``ttl`` seconds at most."""

    key: str
    ttl: float


class Publication(Struct, frozen=True):
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


class DeadLetter(Struct, frozen=True):
    """A message that was given up, kept with the reason until it is replayed or discarded.

    Attributes:
        id: identity of the dead letter within the namespace.
        queue: the queue it was on.
        task_id: the call.
        body: the bytes as they were fetched, also where they could not be decoded.
        reason: one word for why: see ``chicory.outcome.DeathReason``.
        error: a sentence for people.
        retries: attempts made after the first one.
        failed_at: when it was given up.
        priority: its level.
        error_type: the class of the last exception, with its module; empty where there was none.
    """

    id: str
    queue: str
    task_id: str
    body: bytes
    reason: str
    error: str
    retries: int
    failed_at: float
    priority: Priority = Priority.NORMAL
    error_type: str = ""


class Done(Struct, frozen=True):
    """The message is finished: it is removed, its unique key released."""

    receipt: Receipt
    record: Record | None = None
    follow_ups: tuple[Publication, ...] = ()


class Retry(Struct, frozen=True):
    """The message is replaced by ``publication`` (same task id); its unique key is kept.

    ``deliveries`` starts again at 1. There is no moment at which neither message exists.
    """

    receipt: Receipt
    publication: Publication
    record: Record | None = None
    follow_ups: tuple[Publication, ...] = ()


class Dead(Struct, frozen=True):
    """The message becomes a dead letter; its unique key is released."""

    receipt: Receipt
    letter: DeadLetter
    record: Record | None = None
    follow_ups: tuple[Publication, ...] = ()


class Release(Struct, frozen=True):
    """The message is given back at once, or at ``not_before``: this delivery is not counted."""

    receipt: Receipt
    not_before: float = 0.0


Settlement: TypeAlias = Done | Retry | Dead | Release


class Settled(Enum):
    """What became of a settlement."""

    SETTLED = "settled"
    FENCED = "fenced out"


class Cancelled(Enum):
    """What ``cancel`` did; true unless there was nothing to cancel.

    ``REMOVED``: the call had not begun, and never will. ``REQUESTED``: it runs, and its worker
    will stop it; it may still come to its end before that. ``ABSENT``: nothing of that id waits
    or runs.
    """

    REMOVED = "removed"
    REQUESTED = "requested"
    ABSENT = "absent"

    def __bool__(self) -> bool:
        return self is not Cancelled.ABSENT


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


class Counts(Struct, frozen=True):
    """One queue at one moment: messages ready, delayed, leased; dead letters; paused or not."""

    ready: int = 0
    delayed: int = 0
    leased: int = 0
    dead: int = 0
    paused: bool = False


class WorkerRecord(Struct, frozen=True):
    """A worker's heartbeat.

    Attributes:
        worker_id: unique for each start of a worker.
        queues: what it consumes.
        body: the encoded statistics, opaque.
        beat_at: when it was stored; set by the transport.
        expires_at: from when on the worker counts as dead; set by the transport.
    """

    worker_id: str
    queues: tuple[str, ...]
    body: bytes
    beat_at: float = 0.0
    expires_at: float = 0.0


class Transport(Protocol):
    """A connection to one broker, living on one event loop.

    The constructor takes ``TransportSettings``, checks the URL (``ConfigurationError``) and does
    no I/O. ``open`` connects. All verbs may be called concurrently.
    """

    abilities: Abilities

    def __init__(self, settings: TransportSettings) -> None: ...

    def clone(self) -> Self:
        """An unopened transport to the same broker, for another event loop or thread."""
        ...

    async def open(self) -> None:
        """Connect, and create what the broker needs, idempotently.

        Raises:
            BrokerConnectionError: the broker cannot be reached.
            ConfigurationError: it can, but cannot be used as it is; the message says why.
        """
        ...

    async def close(self) -> None:
        """Disconnect; leases stay as they are. Idempotent. Waiting verbs end with an error."""
        ...

    async def ping(self) -> None:
        """One round trip. Raises ``BrokerConnectionError`` within 5 seconds where none is made."""
        ...

    async def publish(self, publications: Sequence[Publication]) -> Sequence[PublishOutcome]:
        """Store messages; answers in the order given.

        A message whose id is live already, or whose unique key is held, is a ``Duplicate``: so
        sending a batch again never doubles a message. A delayed message cannot be fetched before
        its time, and can from then on, although no worker or client is running in between.
        """
        ...

    async def fetch(self, queues: Sequence[str], limit: int, wait: float) -> Sequence[Delivery]:
        """Lease up to ``limit`` messages: new, due and orphaned ones alike.

        Queues are served strictly in the order given, within one queue by priority, within a
        level first in, first out (an orphan keeps its place; a retry goes to the end). Paused
        queues are passed over. A message is leased to exactly one caller at a time.

        Where nothing is there it waits up to ``wait`` seconds (``inf`` for ever) and answers as
        soon as something is: it is woken, it does not poll. An empty answer means that the wait
        is over.
        """
        ...

    async def renew(self, receipts: Sequence[Receipt]) -> Sequence[Lease]:
        """Extend leases by the lease time from now; answers in the order given.

        ``LOST`` once the message was settled, cancelled, purged or leased to somebody else. A
        lease that ran out and that nobody took since is held again.
        """
        ...

    async def settle(self, settlements: Sequence[Settlement]) -> Sequence[Settled]:
        """Make outcomes durable and give up the leases; answers in the order given.

        One settlement is one atomic step: removal, record, dead letter, retry and follow-ups
        happen together, or, where the lease is no longer the caller's, not at all (``FENCED``).
        A record can be read no sooner than the step is durable. Never refused for lack of room
        where the broker can avoid it.

        What is retried or released although its cancellation was requested is due at once, and
        whoever fetches it is told.
        """
        ...

    async def cancel(self, records: Sequence[Record]) -> Sequence[Cancelled]:
        """Cancel calls by id, and store the record given for each one that was ``REMOVED``.

        A waiting or delayed message is removed, its unique key released. For a leased one the
        request is kept until the call has ended (``REQUESTED``): ``renew`` tells its worker, and
        ``fetch`` whoever has it next. ``ABSENT``: nothing is live under that id. A record without
        a body leaves no record.
        """
        ...

    async def look_up(self, task_ids: Sequence[str]) -> Sequence[Standing]:
        """Say where calls stand; answers in the order given."""
        ...

    async def store(self, records: Sequence[Record]) -> None:
        """Store or delete records outside a settlement; watchers are told as always."""
        ...

    async def watch(self, task_ids: Collection[str], sink: Callable[[str, bytes], None]) -> None:
        """Have ``sink(task_id, body)`` called for the record of each call, on this event loop.

        Called for what is stored already and for each record stored later, until ``unwatch``.
        Pushed, not polled; none is missed between the look and the wait, nor over a reconnect.
        Thousands of ids may be watched at once. Watching an id again replaces its sink.
        """
        ...

    def unwatch(self, task_ids: Collection[str]) -> None:
        """Call the sinks of these ids no more. Unknown ids are ignored."""
        ...

    async def dead_letters(
        self, queue: str | None = None, *, after: str | None = None, limit: int = 100
    ) -> Sequence[DeadLetter]:
        """A page of dead letters, oldest first, of one queue or of all.

        ``after``: the id of the last letter of the page before. An empty page is the end.
        """
        ...

    async def find_dead(self, letter_ids: Sequence[str]) -> Sequence[DeadLetter | None]:
        """Dead letters by id; ``None`` for those that are not there."""
        ...

    async def replay(self, items: Sequence[tuple[str, Publication]]) -> Sequence[bool]:
        """Put each publication on its queue and remove the dead letter, in one step.

        False where the letter is not there (any more): of two replays one publishes.
        """
        ...

    async def discard(self, letter_ids: Sequence[str]) -> Sequence[bool]:
        """Delete dead letters by id; False where one was not there."""
        ...

    async def purge(self, queue: str, *, dead: bool = False) -> int:
        """Delete all messages of a queue that are not leased (or all its dead letters); count.

        Unique keys of what is deleted are released.
        """
        ...

    async def counts(self, queues: Sequence[str] | None = None) -> Mapping[str, Counts]:
        """Count the messages of these queues, or of every queue that holds something or is paused.

        From one source of truth and at one moment per queue: nothing is counted twice.
        """
        ...

    async def set_paused(self, queue: str, paused: bool) -> None:
        """Stop or resume the delivery of a queue; durable. Leased messages go on."""
        ...

    async def beat(self, record: WorkerRecord, ttl: float) -> None:
        """Store a worker's heartbeat for ``ttl`` seconds; ``ttl <= 0`` removes the worker."""
        ...

    async def workers(self) -> Sequence[WorkerRecord]:
        """Heartbeats that are stored, by worker id.

        A worker that stopped beating stays in the list for a while after ``expires_at``, or is
        gone by then, as the broker has it.
        """
        ...

    async def __aenter__(self) -> Self:
        """Open."""
        ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        ...
