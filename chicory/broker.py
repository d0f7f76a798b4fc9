"""The broker: the door to the queues and the dead letters, the same on every transport."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from msgspec import Struct

from chicory import message as messages
from chicory import stats
from chicory.errors import ChicoryError, MessageError, MessageTooLargeError, ValidationError
from chicory.health import BrokerStatus
from chicory.message import TaskMessage
from chicory.names import check_name, check_plain
from chicory.session import Link, Session
from chicory.stale import remove_stale
from chicory.transport import (
    Counts,
    DeadLetter,
    Priority,
    Publication,
    PublishOutcome,
    Record,
    WorkerRecord,
)

DEFAULT_QUEUE = "default"
_LEVELS = tuple(Priority)


class DLQMessage(Struct, frozen=True):
    """A dead letter.

    Attributes:
        message_id: what replay and delete take.
        original_message: the message, ``None`` where its bytes cannot be decoded.
        failed_at: when it was given up.
        error: the message of the last exception.
        retry_count: retries made.
        reason: one word for why; see ``chicory.outcome.DeathReason``.
        queue: where it was.
        body: the bytes as they were fetched.
    """

    message_id: str
    original_message: TaskMessage | None
    failed_at: datetime
    error: str
    retry_count: int
    reason: str
    queue: str
    body: bytes


class Broker:
    """Queues of one broker. All methods connect by themselves where need be.

    Raises (every method): ``BrokerConnectionError`` where the broker does not answer;
    ``ValidationError`` for what cannot be a queue's name or an id.
    """

    def __init__(self, link: Link, results: Link | None, max_message_size: int) -> None:
        self._link = link
        self._results = results
        self._max_message_size = max_message_size

    async def connect(self) -> None:
        """Connect on this event loop."""
        await self._session()

    async def disconnect(self) -> None:
        """Close this event loop's connection."""
        await self._link.close()

    async def publish(self, message: TaskMessage, queue: str = DEFAULT_QUEUE) -> str:
        """Publish a message made by hand; returns its id.

        An id that is queued or running already is not published a second time.

        Raises:
            MessageTooLargeError: nothing was published.
            MessageError: an attribute is not what a worker could read; nothing was published.
            QueueFullError: the broker has no room; nothing was published.
            ValidationError: the name of the queue is none; nothing was published.
        """
        read = messages.check(message)
        read.eta = _in_utc(read.eta)
        read.first_failure_at = _in_utc(read.first_failure_at)
        await self.enqueue(read, queue)
        return read.id

    async def enqueue(self, message: TaskMessage, queue: str) -> PublishOutcome:
        """Publish, and say whether it was stored or is a duplicate. Raises as ``publish``."""
        session = self._link.opened() or await self._session()
        return await session.publish(self._publication(message, queue))

    def _publication(self, message: TaskMessage, queue: str) -> Publication:
        check_plain(queue, "queue")
        body = messages.encode(message)
        if len(body) > self._max_message_size:
            raise MessageTooLargeError(
                f"message for task {message.name!r} has {len(body):,} bytes, the limit is "
                f"{self._max_message_size:,}: pass a reference to the data, or raise "
                "CHICORY_MAX_MESSAGE_SIZE"
            )
        due = message.eta.timestamp() if message.eta else 0.0
        return Publication(queue, message.id, body, level(message.priority), due)

    # -- counts and control ---------------------------------------------------------------

    async def get_queue_size(self, queue: str = DEFAULT_QUEUE) -> int:
        """Messages that are ready to be fetched."""
        return (await self.counts([queue]))[queue].ready

    async def get_pending_count(self, queue: str = DEFAULT_QUEUE) -> int:
        """Messages that are leased to workers."""
        return (await self.counts([queue]))[queue].leased

    async def counts(self, queues: Sequence[str] | None = None) -> Mapping[str, Counts]:
        """Counts of these queues, or of all that hold something."""
        for queue in queues or ():
            check_name(queue, "queue")
        found = await (await self._session()).transport.counts(queues)
        return {queue: found.get(queue, Counts()) for queue in queues or sorted(found)}

    async def get_consumer_count(self, queue: str = DEFAULT_QUEUE) -> int:
        """Live workers that consume the queue."""
        now = self._link.clock.now()
        return sum(
            worker.expires_at > now and queue in worker.queues and not stats.has_stopped(worker)
            for worker in await self._workers()
        )

    async def cleanup_stale_clients(
        self, queue: str | None = DEFAULT_QUEUE, stale_seconds: float = 60.0
    ) -> int:
        """Remove records of workers of this queue, or of all, that died that long ago; how many.

        Only of who is dead and holds nothing: it said that it stopped, or its heartbeat expired,
        and then its leases. Its tasks need no cleaning up: they run elsewhere from then on.
        """
        return await remove_stale(self._link, stale_seconds, queue)

    async def purge_queue(self, queue: str = DEFAULT_QUEUE) -> int:
        """Delete all messages that are not leased; how many."""
        check_name(queue, "queue")
        return await (await self._session()).transport.purge(queue)

    async def pause(self, queue: str = DEFAULT_QUEUE) -> None:
        """Deliver nothing from this queue until ``resume``; what runs goes on."""
        check_name(queue, "queue")
        await (await self._session()).transport.set_paused(queue, paused=True)

    async def resume(self, queue: str = DEFAULT_QUEUE) -> None:
        """Deliver again."""
        check_name(queue, "queue")
        await (await self._session()).transport.set_paused(queue, paused=False)

    async def healthcheck(self) -> BrokerStatus:
        """Ask the broker now."""
        error = await self._link.failure()
        return BrokerStatus(connected=error is None, error=error)

    # -- dead letters ---------------------------------------------------------------------

    async def get_dlq_messages(
        self, queue: str | None = DEFAULT_QUEUE, count: int = 100, after: str | None = None
    ) -> list[DLQMessage]:
        """Dead letters, oldest first; ``queue=None`` for all, ``after`` the last id of a page.

        Raises ``ValidationError`` for a ``count`` below 0.
        """
        if count < 0:
            raise ValidationError(f"count={count!r}: must be 0 or more")
        for name, what in ((queue, "queue"), (after, "id")):
            if name is not None:
                check_name(name, what)
        transport = (await self._session()).transport
        return [_shown(d) for d in await transport.dead_letters(queue, after=after, limit=count)]

    async def get_dlq_message(self, message_id: str) -> DLQMessage | None:
        """One dead letter; ``None`` where there is none."""
        check_name(message_id, "id")
        letter = (await (await self._session()).transport.find_dead([message_id]))[0]
        return letter and _shown(letter)

    async def replay_from_dlq(
        self, message_id: str, queue: str | None = None, reset_retries: bool = True
    ) -> bool:
        """Put a dead letter back on its queue (or on ``queue``); False where there is none.

        What cannot be decoded goes back as it was. What can is due at once and does not expire;
        it starts with all its retries, or with those it had left if ``reset_retries`` is False.
        """
        check_name(message_id, "id")
        if queue is not None:
            check_plain(queue, "queue")
        transport = (await self._session()).transport
        letter = (await transport.find_dead([message_id]))[0]
        if letter is None:
            return False
        # a waiter must find the new outcome, not the old one
        results = await self._results.session() if self._results else None
        if results is not None:
            await results.transport.store([Record(letter.task_id, None, 0)])
        body = _revived(letter.body, reset_retries)
        publication = Publication(queue or letter.queue, letter.task_id, body, letter.priority)
        return (await transport.replay([(message_id, publication)]))[0]

    async def delete_from_dlq(self, message_id: str, queue: str | None = None) -> bool:  # noqa: ARG002  (the name is the user's)
        """Delete a dead letter; False where there is none."""
        check_name(message_id, "id")
        return (await (await self._session()).transport.discard([message_id]))[0]

    async def purge_dlq(self, queue: str = DEFAULT_QUEUE) -> int:
        """Delete all dead letters of a queue; how many."""
        check_name(queue, "queue")
        return await (await self._session()).transport.purge(queue, dead=True)

    async def get_dlq_count(self, queue: str = DEFAULT_QUEUE) -> int:
        """Dead letters of a queue."""
        return (await self.counts([queue]))[queue].dead

    async def _session(self) -> Session:
        return await self._link.session()

    async def _workers(self) -> Sequence[WorkerRecord]:
        return await (await self._session()).transport.workers()


def level(priority: int | None) -> Priority:
    """The level that a message's priority means. Raises ``ValidationError`` for none."""
    if priority is None:
        return Priority.NORMAL
    if not 0 <= priority <= 255:  # noqa: PLR2004  (as the message's docstring says)
        raise ValidationError(f"priority {priority!r}: 0 is low, 1 normal, 2 to 255 high")
    return _LEVELS[min(priority, Priority.HIGH)]


def _in_utc(moment: datetime | None) -> datetime | None:
    return moment if moment is None or moment.tzinfo else moment.replace(tzinfo=UTC)


def _shown(letter: DeadLetter) -> DLQMessage:
    try:
        original = messages.decode_whole(letter.body)
    except ChicoryError:
        original = None
    return DLQMessage(
        letter.id,
        original,
        datetime.fromtimestamp(letter.failed_at, UTC),
        letter.error,
        letter.retries,
        letter.reason,
        letter.queue,
        letter.body,
    )


def _revived(body: bytes, reset_retries: bool) -> bytes:
    try:
        envelope = messages.decode(body)
    except MessageError:
        return body
    envelope.eta = None
    envelope.expires_at = None  # who replays it wants it run
    if reset_retries:
        envelope.retries = 0
        envelope.first_failure_at = None
        envelope.last_error = None
    return messages.encode(envelope)
