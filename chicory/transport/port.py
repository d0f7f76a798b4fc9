"""The verbs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from types import TracebackType
from typing import Protocol, Self

from chicory.transport.abilities import Abilities
from chicory.transport.cancelled import Cancelled
from chicory.transport.counts import Counts
from chicory.transport.delivery import Delivery, Lease, Receipt
from chicory.transport.letter import DeadLetter
from chicory.transport.publication import Publication, PublishOutcome
from chicory.transport.record import Record, Standing
from chicory.transport.settings import TransportSettings
from chicory.transport.settlement import Settled, Settlement
from chicory.transport.worker import WorkerRecord


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

        Their times are by ``settings.clock``, also where the broker has another one: ``seen_at``.
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
