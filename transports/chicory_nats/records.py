"""Records, and where calls stand."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from chicory.transport import Record, Stage, Standing
from chicory_nats import outcomes
from chicory_nats.consumers import Consumers
from chicory_nats.headers import CALL, expect, line
from chicory_nats.names import token
from chicory_nats.session import Session
from chicory_nats.thread import Thread, place_of
from chicory_nats.wire import Outgoing


class Records:
    """Stores records outside a settlement, and looks calls up."""

    def __init__(self, session: Session, consumers: Consumers) -> None:
        self._session = session
        self._consumers = consumers

    async def store(self, records: Sequence[Record]) -> None:
        """Store or delete records; of several for one call the last one stays."""
        tops: dict[bytes, int] = {}
        ended: dict[bytes, bytes] = {}
        left = list(records)
        while left:
            now, later = _one_each(left)
            messages = [
                self._message(one, tops.get(_call(one), 0), ended.get(_call(one))) for one in now
            ]
            self._session.measure(messages)
            stored = await self._session.send(messages)
            tops.update({_call(one): seq for one, seq in zip(now, stored, strict=True)})
            again = [one for one, seq in zip(now, stored, strict=True) if not seq]
            found = await self._session.threads.look(map(_call, again))
            await self._session.finish(found.values())
            tops.update({call: thread.top for call, thread in found.items()})
            ended.update(_ended(found))
            left = again + later

    async def look_up(self, task_ids: Sequence[str]) -> Sequence[Standing]:
        """Say where calls stand."""
        calls = [token(task_id).encode() for task_id in task_ids]
        found = await self._session.threads.look(calls)
        await self._session.finish(found.values())
        delivered = await self._delivered(found)
        now = time.time()
        standings = {
            call: _standing(thread, delivered.get(call, False), now)
            for call, thread in found.items()
        }
        return [standings[call] for call in calls]

    async def _delivered(self, found: dict[bytes, Thread]) -> dict[bytes, bool]:
        """Whether messages that nothing else is known of were ever fetched."""
        open_ = {
            call: thread.message
            for call, thread in found.items()
            if thread.message is not None and thread.holder == thread.message.seq
        }
        places = {call: place_of(message) for call, message in open_.items()}
        levels = list({(place.queue, place.level) for place in places.values()})
        statuses = await asyncio.gather(*(self._consumers.status(*level) for level in levels))
        known = dict(zip(levels, statuses, strict=True))
        return {
            call: message.seq <= known[places[call].queue, places[call].level].delivered
            for call, message in open_.items()
        }

    def _message(self, record: Record, top: int, ended: bytes | None) -> Outgoing:
        """A record; ``ended``: whose outcome it takes the place of, which is to be remembered."""
        more = expect(top, self._session.subjects.thread(_call(record)))
        if ended is not None:
            more += line(CALL, ended)
        keep = 0.0 if ended is None and record.body else outcomes.SHORT
        return outcomes.record(self._session.subjects, record, more=more, keep=keep)


def _ended(found: dict[bytes, Thread]) -> dict[bytes, bytes]:
    """The messages whose outcomes records are."""
    return {
        call: thread.record.headers[CALL]
        for call, thread in found.items()
        if thread.record is not None and CALL in thread.record.headers
    }


def _standing(found: Thread, delivered: bool, now: float) -> Standing:
    body = found.body(now)
    holder = found.holder
    marked = found.mark is not None and holder is not None
    if marked or (holder is not None and delivered):
        return Standing(Stage.RUNNING, body)
    return Standing(Stage.WAITING if body is None else Stage.RECORDED, body)


def _one_each(records: Sequence[Record]) -> tuple[list[Record], list[Record]]:
    """The first record of each call, and the others."""
    now: dict[str, Record] = {}
    later: list[Record] = []
    for record in records:
        if record.task_id in now:
            later.append(record)
        else:
            now[record.task_id] = record
    return list(now.values()), later


def _call(record: Record) -> bytes:
    return token(record.task_id).encode()
