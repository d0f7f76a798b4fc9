"""What was enqueued, in the order in which it was: a transport that keeps a journal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Self

from msgspec import Struct

from chicory.message import Envelope
from chicory.testing.memory import MemoryTransport
from chicory.testing.store import Store
from chicory.transport import (
    Accepted,
    Delivery,
    Priority,
    Publication,
    PublishOutcome,
    Release,
    Settled,
    Settlement,
    TransportSettings,
)


class Enqueued(Struct, frozen=True):
    """A call that was enqueued.

    Attributes:
        task_id: identity of the call.
        name: the task's name.
        arguments: by the names of the parameters, defaults included, in their annotated types; of
            what does not fit, or is no task here, as they travel, by place or name.
        queue: where it was put.
        priority: its level.
        due: not to be run before, in UTC; ``None``: at once.
        expires: not to be begun after, in UTC; ``None``: never.
        unique: its unique key, with the task's name; ``None``: none.
        headers: the notes that travel with it.
    """

    task_id: str
    name: str
    arguments: Mapping[str, Any]
    queue: str
    priority: Priority
    due: datetime | None
    expires: datetime | None
    unique: str | None
    headers: Mapping[str, str]

    def __str__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in self.arguments.items())
        due = f", due {self.due.isoformat()}" if self.due else ""
        return f"{self.name}({given}) on {self.queue!r}{due}"


class Journal:
    """Publications as they were accepted."""

    def __init__(self) -> None:
        self._entries: list[Publication] = []

    def __iter__(self) -> Iterator[Publication]:
        return iter(list(self._entries))

    def note(self, publication: Publication) -> None:
        """Write one down."""
        self._entries.append(publication)

    def clear(self) -> None:
        """Forget what was written."""
        self._entries.clear()


class JournalingTransport(MemoryTransport):
    """The transport in memory, which writes down what is published."""

    def __init__(
        self,
        settings: TransportSettings,
        store: Store | None = None,
        journal: Journal | None = None,
    ) -> None:
        super().__init__(settings, store)
        self.journal = journal or Journal()
        self._is_workers = False

    def clone(self) -> Self:
        """An unopened transport to the same contents and journal."""
        return type(self)(self._settings, self._store, self.journal)

    async def publish(self, publications: Sequence[Publication]) -> Sequence[PublishOutcome]:
        """Store messages."""
        outcomes = await super().publish(publications)
        for publication, outcome in zip(publications, outcomes, strict=True):
            if isinstance(outcome, Accepted) and not self._is_workers:
                self.journal.note(publication)
        return outcomes

    async def fetch(self, queues: Sequence[str], limit: int, wait: float) -> Sequence[Delivery]:
        """Lease messages; who does so publishes the next attempts of calls, and no new ones."""
        self._is_workers = True
        return await super().fetch(queues, limit, wait)

    async def settle(self, settlements: Sequence[Settlement]) -> Sequence[Settled]:
        """Make outcomes final."""
        answers = await super().settle(settlements)
        for settlement, answer in zip(settlements, answers, strict=True):
            if answer is Settled.SETTLED and not isinstance(settlement, Release):
                for publication in settlement.follow_ups:
                    self.journal.note(publication)
        return answers

    def next_change(self) -> float:
        """When time alone will make a message ready; ``inf`` for never."""
        with self._store.lock:
            return self._store.next_change()


def entry(publication: Publication, envelope: Envelope, arguments: Mapping[str, Any]) -> Enqueued:
    """A publication, and the message in it, in the user's words."""
    return Enqueued(
        envelope.id,
        envelope.name,
        arguments,
        publication.queue,
        publication.priority,
        _moment(publication.not_before or None),
        _moment(envelope.expires_at),
        publication.unique.key if publication.unique else None,
        envelope.headers,
    )


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
