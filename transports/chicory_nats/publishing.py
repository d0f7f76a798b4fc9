"""Storing messages, each on condition that its id and its unique key are free."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from itertools import compress

from chicory.errors import BrokerConnectionError
from chicory.transport import Accepted, Duplicate, Publication, PublishOutcome
from chicory_nats.ballast import Ballast
from chicory_nats.intents import Intent, intent, marks, runs
from chicory_nats.keys import Holder, Keys
from chicory_nats.messages import published
from chicory_nats.queues import Registry
from chicory_nats.session import RESERVE, Session
from chicory_nats.thread import Thread

_ROUNDS = 100
"""Reads of a thread after which something else is wrong than that another one was quicker.

So often it is tried to free a key, and so often to store a message where its guard did not hold.
"""


class Publisher:
    """Publishes by batch: a message each, and before it the note that it holds its unique key.

    The guard of a message is that its thread is empty. Where it is not, the thread is read: a
    live message is a duplicate, unless this very step stored it and the answer was lost; that is
    known also where the message has been settled since, by what its outcome left. What is left
    of another call that ended becomes the new guard.
    """

    def __init__(self, session: Session, registry: Registry, ballast: Ballast) -> None:
        self._session = session
        self._ballast = ballast
        self._registry = registry
        self._keys = Keys(session)

    async def publish(self, publications: Sequence[Publication]) -> Sequence[PublishOutcome]:
        """Store messages; answers in their order."""
        queues = (publication.queue for publication in publications)
        await self._registry.register(queues, self._session.send)
        outcomes: list[PublishOutcome] = []
        for run in runs(publications, marks):
            outcomes += await self._publish(run)
        return outcomes

    async def _publish(self, publications: Sequence[Publication]) -> Sequence[PublishOutcome]:
        intents = [intent(publication) for publication in publications]
        outcomes = await self._attempt(intents)
        for _ in range(_ROUNDS):
            if None not in outcomes:
                break
            await self._try_again(intents, outcomes)
        if None in outcomes:
            raise self._restless(intents[outcomes.index(None)])
        return [outcome for outcome in outcomes if outcome is not None]

    async def _try_again(
        self, intents: Sequence[Intent], outcomes: list[PublishOutcome | None]
    ) -> None:
        """Find out why guards did not hold, and store what nothing is in the way of."""
        left = [n for n, outcome in enumerate(outcomes) if outcome is None]
        judged = await self.judge([intents[n] for n in left])
        free = [n for n, outcome in zip(left, judged, strict=True) if outcome is None]
        judged += await self._attempt([intents[n] for n in free])
        for n, outcome in zip([*left, *free], judged, strict=True):
            outcomes[n] = outcome

    async def _attempt(self, intents: Sequence[Intent]) -> list[PublishOutcome | None]:
        """Store messages; ``None`` for those whose guard did not hold, or that of their key."""
        messages = [published(self._session.subjects, one) for one in intents]
        await self._ballast.cover(self._session.measure(messages, reserve=RESERVE))
        ready = await self._keys.take(intents)
        stored = iter(await self._session.send(list(compress(messages, ready))))
        return [Accepted() if has_key and next(stored) else None for has_key in ready]

    async def judge(
        self, intents: Sequence[Intent], ending: bytes = b""
    ) -> list[PublishOutcome | None]:
        """Why a guard did not hold; ``None``: nothing is in the way, and the intent says so now.

        ``ending``: the identity of a message whose end is part of the same step.
        """
        if not intents:
            return []
        for _ in range(_ROUNDS):
            found, holders = await asyncio.gather(
                self._session.threads.look(one.place.call for one in intents),
                self._keys.find(intents),
            )
            await self._session.finish(found.values())
            judged = [_judge(one, found[one.place.call], holders, ending) for one in intents]
            wanted = [one for one, outcome in zip(intents, judged, strict=True) if outcome is None]
            named = [holders[key] for one in wanted if (key := _key(one)) in holders]
            if await self._keys.free(named, wanted):
                return judged
        raise self._restless(intents[0])

    def _restless(self, one: Intent) -> BrokerConnectionError:
        """The error of a message that others were always quicker than."""
        return BrokerConnectionError(
            f"{self._session.address}: call {one.publication.task_id} was not enqueued: "
            "whenever it was read it had changed before the next step"
        )


def _judge(
    wanted: Intent, found: Thread, holders: Mapping[str, Holder], ending: bytes
) -> PublishOutcome | None:
    if found.knows(wanted.call):
        return Accepted()
    if found.live and not (ending and found.call == ending):
        return Duplicate(wanted.publication.task_id)
    wanted.expected = found.top
    holder = holders.get(_key(wanted))
    if holder is not None and holder.holds(time.time(), ending):
        return Duplicate(holder.task_id)
    wanted.key_expected = 0 if holder is None else holder.note.seq
    return None


def _key(wanted: Intent) -> str:
    """The unique key of a publication; nothing, which is no key, where it has none."""
    unique = wanted.publication.unique
    return "" if unique is None else unique.key
