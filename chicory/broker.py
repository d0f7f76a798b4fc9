"""The broker: the door to the queues and the dead letters, the same on every transport."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

from chicory import cancellation, letters, stats
from chicory import message as messages
from chicory.codec import PLAIN, Codec
from chicory.errors import ChicoryError, ValidationError
from chicory.health import BrokerStatus
from chicory.letters import DLQMessage
from chicory.message import TaskMessage
from chicory.names import check_listed, check_name, check_plain
from chicory.publication import enclosed, publication
from chicory.seal import Seal
from chicory.session import Link, Session
from chicory.stale import remove_stale
from chicory.transport import (
    Cancelled,
    Counts,
    Publication,
    PublishOutcome,
    Record,
    WorkerRecord,
)

DEFAULT_QUEUE = "default"


class Broker:
    """Queues of one broker. All methods connect by themselves where need be.

    Raises (every method): ``BrokerConnectionError`` where the broker does not answer;
    ``ValidationError`` for what cannot be a queue's name or an id.
    """

    def __init__(
        self,
        link: Link,
        results: Link | None,
        max_message_size: int,
        result_ttl: float,
        seal: Seal,
        codec: Codec = PLAIN,
    ) -> None:
        self._link = link
        self._results = results
        self._max_message_size = max_message_size
        self._result_ttl = result_ttl
        self._seal = seal
        self._codec = codec

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
        read = messages.check(message, self._codec)
        if read.eta is not None and read.eta.tzinfo is None:
            warnings.warn(
                f"the eta of message {read.id!r}, {read.eta.isoformat()}, has no time zone: it is "
                "taken as UTC",
                stacklevel=2,
            )
        read.eta = messages.in_utc(read.eta)
        read.first_failure_at = messages.in_utc(read.first_failure_at)
        await self.enqueue(read, queue)
        return read.id

    async def enqueue(self, message: TaskMessage, queue: str) -> PublishOutcome:
        """Publish, and say whether it was stored or is a duplicate. Raises as ``publish``."""
        return await self.submit(self.prepare(message, queue))

    async def submit(self, publication: Publication) -> PublishOutcome:
        """Publish what was prepared. Raises as ``enqueue``."""
        session = self._link.opened() or await self._session()
        return await session.publish(publication)

    def prepare(self, message: TaskMessage, queue: str) -> Publication:
        """What ``enqueue`` would publish. Raises as ``publish``; nothing is sent."""
        return publication(message, queue, self._max_message_size, self._seal)

    @property
    def room(self) -> int:
        """Bytes up to which an encoded message is published as it is; none where it is sealed."""
        return 0 if self._seal.closes else self._max_message_size

    def enclose(self, body: bytes, name: str) -> bytes:
        """An encoded message of a task as it is published. Raises ``MessageTooLargeError``."""
        return enclosed(body, name, self._max_message_size, self._seal)

    @property
    def max_size(self) -> int:
        """Bytes that a message or a record may have; a server that is asked may allow less."""
        links = [link for link in (self._link, self._results) if link is not None]
        return min(self._max_message_size, *(link.template.abilities.max_size for link in links))

    @property
    def bulk(self) -> int:
        """How many messages ``enqueue_all`` is best given, where there are many."""
        return self._link.template.abilities.bulk

    @property
    def beside(self) -> bool:
        """Whether the next ones are best put together while ``enqueue_all`` is under way."""
        return self._link.template.abilities.beside

    async def enqueue_all(
        self, publications: Sequence[Publication]
    ) -> Sequence[PublishOutcome | ChicoryError]:
        """Publish in as few round trips as can be; what became of each, in the order given.

        What is refused is among the answers. Where that is a ``BrokerConnectionError``, the
        message may have been published.
        """
        return await (await self._session()).publish_all(publications)

    async def cancel(self, task_id: str) -> Cancelled:
        """Cancel a call; says what that did. To be repeated where the connection was lost.

        One that waits, or is delayed, or is to be retried, is removed in one step: it never
        begins, and ends as ``CANCELLED``. One that runs is asked to stop, and ends so as soon as
        its worker has heard of it, which is at once or, at the latest, when it renews its lease;
        it may come to another end before that.

        Raises ``ValidationError`` for what cannot be an id.
        """
        check_name(task_id, "task id")
        broker = await self._session()
        results = self._results and await self._results.session()
        body = cancellation.epitaph(task_id, self._link.clock.now()) if results else None
        return await cancellation.cancel(
            broker,
            results.transport if results and results is not broker else None,
            Record(task_id, body, self._result_ttl),
        )

    # -- counts and control ---------------------------------------------------------------

    async def get_queue_size(self, queue: str = DEFAULT_QUEUE) -> int:
        """Messages that are ready to be fetched."""
        return (await self.counts([queue]))[queue].ready

    async def get_pending_count(self, queue: str = DEFAULT_QUEUE) -> int:
        """Messages that are leased to workers."""
        return (await self.counts([queue]))[queue].leased

    async def counts(self, queues: Sequence[str] | None = None) -> Mapping[str, Counts]:
        """Counts of these queues, or of all that hold something.

        Raises ``ValidationError`` also for one name in place of a list.
        """
        check_listed(queues, "queues")
        for queue in queues or ():
            check_name(queue, "queue")
        found = await (await self._session()).transport.counts(queues)
        return {queue: found.get(queue, Counts()) for queue in queues or sorted(found)}

    async def get_consumer_count(self, queue: str = DEFAULT_QUEUE) -> int:
        """Live workers that consume the queue."""
        workers, now = await self._workers(), self._link.clock.now()
        return sum(
            worker.expires_at > now and queue in worker.queues and not stats.has_stopped(worker)
            for worker in workers
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
        self,
        queue: str | None = DEFAULT_QUEUE,
        count: int = 100,
        after: str | None = None,
        *,
        error: str | None = None,
    ) -> list[DLQMessage]:
        """Dead letters, oldest first; ``queue=None`` for all, ``after`` the last id of a page.

        ``error``: only those whose last exception is of the class of that name, with or without
        its module (a subclass has another name); ``count`` counts what is found.

        Raises ``ValidationError`` for a ``count`` below 0, and for what cannot be a name.
        """
        if count < 0:
            raise ValidationError(f"count={count!r}: must be 0 or more")
        for name, what in ((queue, "queue"), (after, "id"), (error, "error")):
            if name is not None:
                check_name(name, what)
        transport = (await self._session()).transport
        if error is None:
            found = await transport.dead_letters(queue, after=after, limit=count)
        else:
            found = await letters.find(transport, queue, after, count, error)
        return [letters.shown(letter) for letter in found]

    async def get_dlq_message(self, message_id: str) -> DLQMessage | None:
        """One dead letter; ``None`` where there is none."""
        check_name(message_id, "id")
        letter = (await (await self._session()).transport.find_dead([message_id]))[0]
        return letter and letters.shown(letter)

    async def replay_from_dlq(
        self, message_id: str, queue: str | None = None, reset_retries: bool = True
    ) -> bool:
        """Put a dead letter back on its queue (or on ``queue``).

        False where there is none, or while another call of its id, or with its unique key, waits
        or runs: then the letter stays.

        What cannot be decoded, or has no signature that is accepted here, goes back as it was.
        What can is due at once and does not expire;
        it starts with all its retries, or with those it had left if ``reset_retries`` is False.
        """
        return (await self.replay_many_from_dlq([message_id], queue, reset_retries))[0]

    async def replay_many_from_dlq(
        self, message_ids: Sequence[str], queue: str | None = None, reset_retries: bool = True
    ) -> list[bool]:
        """Put dead letters back in few round trips; of each what ``replay_from_dlq`` says.

        Where an error is raised, any number of them may have been put back.
        """
        _check_ids(message_ids)
        if queue is not None:
            check_plain(queue, "queue")
        transport = (await self._session()).transport
        results = await self._results.session() if self._results else None
        answers: list[bool] = []
        for start in range(0, len(message_ids), letters.PAGE):
            found = await transport.find_dead(message_ids[start : start + letters.PAGE])
            exchanges = [
                (letter, letters.revived(letter, queue, self._seal, reset_retries=reset_retries))
                for letter in found
                if letter is not None
            ]
            replayed: list[bool] = []
            for portion in letters.portions(exchanges):
                replayed += await letters.replay(
                    transport, results and results.transport, portion, self._result_ttl
                )
            each = iter(replayed)
            answers += [letter is not None and next(each) for letter in found]
        return answers

    async def delete_from_dlq(self, message_id: str, queue: str | None = None) -> bool:  # noqa: ARG002  (the name is the user's)
        """Delete a dead letter; False where there is none."""
        return (await self.delete_many_from_dlq([message_id]))[0]

    async def delete_many_from_dlq(self, message_ids: Sequence[str]) -> list[bool]:
        """Delete dead letters in few round trips; of each whether it was there."""
        _check_ids(message_ids)
        transport = (await self._session()).transport
        answers: list[bool] = []
        for start in range(0, len(message_ids), letters.PAGE):
            answers += await transport.discard(message_ids[start : start + letters.PAGE])
        return answers

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


def _check_ids(message_ids: Sequence[str]) -> None:
    """Raise ``ValidationError`` for what cannot be ids, also for one id in place of a list."""
    check_listed(message_ids, "message_ids", "ids")
    for message_id in message_ids:
        check_name(message_id, "id")
