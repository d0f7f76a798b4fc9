"""Storing messages, each on condition that its id and its unique key are free."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from chicory.transport import Accepted, Duplicate, Publication, PublishOutcome
from chicory_nats.composing import Intent, intent, published
from chicory_nats.headers import CALL, UNTIL
from chicory_nats.queues import Registry
from chicory_nats.reading import Stored
from chicory_nats.session import RESERVE, Session
from chicory_nats.subjects import place_of
from chicory_nats.thread import Thread
from chicory_nats.wire import Batch, Outgoing, Request


class Publisher:
    """Publishes by batch: one message each, or a message and its unique key as one step.

    The guard of a message is that its thread is empty. Where it is not, the thread is read: a
    live message is a duplicate, unless this very step stored it and the answer was lost; that is
    known also where the message has been settled since, by what its outcome left. What is left
    of another call that ended becomes the new guard.
    """

    def __init__(self, session: Session, registry: Registry) -> None:
        self._session = session
        self._registry = registry

    async def publish(self, publications: Sequence[Publication]) -> Sequence[PublishOutcome]:
        """Store messages; answers in their order."""
        await self._registry.register(publication.queue for publication in publications)
        outcomes: list[PublishOutcome] = []
        for run in _runs(publications):
            outcomes += await self._publish(run)
        return outcomes

    async def _publish(self, publications: Sequence[Publication]) -> Sequence[PublishOutcome]:
        intents = [intent(publication) for publication in publications]
        outcomes: list[PublishOutcome | None] = [None] * len(intents)
        composed = [published(self._session.subjects, one) for one in intents]
        for messages in composed:
            self._session.measure(messages, reserve=RESERVE)
        left = list(range(len(intents)))
        while left:
            stored = await self._session.send([_request(composed[i]) for i in left])
            for i, seq in zip(left, stored, strict=True):
                if seq:
                    outcomes[i] = Accepted()
            left = [i for i in left if outcomes[i] is None]
            judged = await self.judge([intents[i] for i in left])
            for i, outcome in zip(left, judged, strict=True):
                outcomes[i] = outcome
            left = [i for i in left if outcomes[i] is None]
            for i in left:
                composed[i] = published(self._session.subjects, intents[i])
        return [outcome for outcome in outcomes if outcome is not None]

    async def judge(
        self, intents: Sequence[Intent], ending: bytes = b""
    ) -> Sequence[PublishOutcome | None]:
        """Why a guard did not hold; ``None``: nothing is in the way, and the intent says so now.

        ``ending``: the identity of a message whose end is part of the same step.
        """
        if not intents:
            return []
        found = await self._session.look(one.place.call for one in intents)
        await self._session.finish(found.values())
        keys = await self._key_holders(intents)
        holders = await self._session.look(_call_of(stored) for stored in keys.values())
        now = time.time()
        return [
            self._judge(one, found[one.place.call], keys, holders, ending, now) for one in intents
        ]

    def _judge(
        self,
        wanted: Intent,
        found: Thread,
        keys: dict[bytes, Stored],
        holders: dict[bytes, Thread],
        ending: bytes,
        now: float,
    ) -> PublishOutcome | None:
        if found.knows(wanted.call):
            return Accepted()
        if found.live and not (ending and found.call == ending):
            return Duplicate(wanted.publication.task_id)
        wanted.expected = found.top
        unique = wanted.publication.unique
        held = keys.get(self._session.subjects.unique(unique.key)) if unique else None
        if held is None:
            wanted.key_expected = 0
            return None
        if _holds(held, holders[_call_of(held)], now, ending):
            return Duplicate(held.body.decode("utf-8", "surrogatepass"))
        wanted.key_expected = held.seq
        return None

    async def _key_holders(self, intents: Iterable[Intent]) -> dict[bytes, Stored]:
        subjects = [
            self._session.subjects.unique(one.publication.unique.key)
            for one in intents
            if one.publication.unique
        ]
        if not subjects:
            return {}
        return {stored.subject: stored for stored in await self._session.reader.last(subjects)}


def _runs(publications: Sequence[Publication]) -> Sequence[Sequence[Publication]]:
    """Parts within which no id and no key comes twice: what becomes of one is news for the next."""
    runs: list[list[Publication]] = [[]]
    ids: set[str] = set()
    keys: set[str] = set()
    for one in publications:
        key = one.unique.key if one.unique else None
        if one.task_id in ids or key in keys:
            runs.append([])
            ids.clear()
            keys.clear()
        runs[-1].append(one)
        ids.add(one.task_id)
        if key is not None:
            keys.add(key)
    return runs


def _holds(held: Stored, holder: Thread, now: float, ending: bytes) -> bool:
    """Whether a unique key is in use: its time is not over, and its holder still to be settled."""
    identity = held.headers.get(CALL)
    return (
        float(held.headers.get(UNTIL, b"0")) > now
        and holder.live
        and holder.call == identity
        and identity != ending
    )


def _call_of(held: Stored) -> bytes:
    return place_of("", 0, held.body.decode("utf-8", "surrogatepass")).call


def _request(messages: Sequence[Outgoing]) -> Request:
    return messages[0] if len(messages) == 1 else Batch(messages)
