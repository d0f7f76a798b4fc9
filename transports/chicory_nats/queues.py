"""The queues of a namespace: which there are, whether they are paused, what they hold."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Collection, Iterable, Mapping, Sequence

from msgspec import Struct

from chicory.transport import Counts
from chicory_nats.consumers import FOREVER, Consumers, Status, queue_token
from chicory_nats.headers import GONE, HOLDS, PAUSED, REPLACES, ROLLUP, expect, line
from chicory_nats.locks import Lock
from chicory_nats.reading import Stored
from chicory_nats.session import Session, Store
from chicory_nats.subjects import Kind, kind_and_place, levels
from chicory_nats.thread import Thread, place_of
from chicory_nats.wire import Outgoing

_SURE = 60.0
"""Seconds after which a note is no longer sure to be there: an operator may have purged the stream,
or somebody else made it again."""
_NONE: Mapping[bytes, int] = {}
_NAMED = 2000
"""Messages up to which a queue is counted message by message, at one moment."""


class Registry:
    """Remembers every queue that was ever used: the server keeps messages, not queues."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._noted: dict[str, float] = {}

    async def register(self, queues: Iterable[str], store: Store) -> None:
        """Have queues remembered by notes that ``store`` stores."""
        now = time.monotonic()
        due = [
            queue
            for queue in dict.fromkeys(queues)
            if self._noted.get(queue, -math.inf) <= now - _SURE
        ]
        if due:
            await store([self._note(queue) for queue in due])
            self._noted.update(dict.fromkeys(due, now))

    def forget(self) -> None:
        """Have all remembered anew."""
        self._noted.clear()

    async def all(self) -> Sequence[Stored]:
        """The notes of all queues."""
        return [one async for one in self._session.reader.scan(self._session.subjects.queue(b"*"))]

    def _note(self, queue: str) -> Outgoing:
        subject = self._session.subjects.queue(queue_token(queue))
        return Outgoing(subject, expect(0, subject), _encode(queue))


class _Tally(Struct):
    """Messages of one queue, by call: that a call is seen twice while it moves counts once."""

    queued: dict[int, set[bytes]]
    scheduled: set[bytes]
    buried: dict[bytes, list[bytes]]
    dead: int = 0
    marks: int = 0

    @property
    def doubtful(self) -> set[bytes]:
        """Calls whose message may be over, and about to be removed."""
        seen: set[bytes] = set(self.buried)
        twice = seen & self.scheduled
        for calls in self.queued.values():
            twice |= seen & calls
            seen |= calls
        return twice


class Queues:
    """Counts, pauses and empties whole queues."""

    def __init__(self, session: Session, consumers: Consumers) -> None:
        self._session = session
        self._consumers = consumers
        self._registry = Registry(session)

    async def counts(self, queues: Sequence[str] | None) -> Mapping[str, Counts]:
        """Count queues, or every queue that holds something or is paused."""
        notes = await self._notes(queues)
        names = [_decode(one.body) for one in notes] if queues is None else list(queues)
        paused = {one.subject for one in notes if PAUSED in one.headers}
        counted = await asyncio.gather(*(self._count(name, paused) for name in names))
        return {
            name: count
            for name, count in zip(names, counted, strict=True)
            if queues is not None or count != Counts()
        }

    async def set_paused(self, queue: str, paused: bool) -> None:
        """Stop or resume a queue."""
        name = queue_token(queue)
        await self._consumers.ensure(name)
        async with Lock(self._session, name):
            note = Outgoing(
                self._session.subjects.queue(name),
                ROLLUP + (line(PAUSED, b"1") if paused else b""),
                _encode(queue),
            )
            # who dies in between leaves a queue that is said to be paused, and delivers: better
            # than one that is said to deliver, and is paused
            if paused:
                await self._session.insist([note])
            await self._consumers.pause(name, FOREVER if paused else 0)
            if not paused:
                await self._session.insist([note])

    async def purge(self, queue: str) -> int:
        """Delete what is delayed, and what waits to be fetched."""
        name = queue_token(queue)
        await self._consumers.ensure(name)
        subjects = self._session.subjects
        async with Lock(self._session, name) as lock, lock.still(self._consumers):
            statuses = await self._statuses(name)
            if any(status.leased for status in statuses.values()):
                await self._finish_delayed(name)
            number = await self._session.purge(subjects.of_queue(Kind.SCHEDULED, name))
            for level, status in statuses.items():
                number += await self._purge_level(name, level, status)
            return number

    async def _purge_level(self, queue: bytes, level: int, status: Status) -> int:
        subjects = self._session.subjects
        waiting = subjects.level(queue, level)
        if (
            not status.leased
        ):  # then the consumer has nothing to deliver again, which it would forget
            await self._session.purge(subjects.level(queue, level, Kind.MARK))
            return await self._session.purge(waiting)
        free = (await self._given_back(queue)).get(level, {})
        doomed = [
            one
            async for one in self._session.reader.scan(waiting)
            if one.seq > status.delivered or kind_and_place(one.subject)[1].call in free
        ]
        await self._session.delete(_replaced(doomed))
        number = sum(await self._session.delete(one.seq for one in doomed))
        await self._session.delete(free.values())
        return number

    async def _finish_delayed(self, queue: bytes) -> None:
        """Remove what delayed messages continue, where who was to remove it has died."""
        delayed = self._session.reader.scan(self._session.subjects.of_queue(Kind.SCHEDULED, queue))
        await self._session.delete(_replaced([one async for one in delayed]))

    async def _given_back(self, queue: bytes) -> Mapping[int, Mapping[bytes, int]]:
        """Calls that JetStream counts as leased although they were given back; and their marks."""
        subjects = self._session.subjects.of_queue(Kind.MARK, queue)
        marks = [one async for one in self._session.reader.scan(subjects)]
        calls = [place_of(one).call for one in marks if one.headers.get(HOLDS) == b"0"]
        free: dict[int, dict[bytes, int]] = {}
        for call, thread in (await self._session.threads.look(calls)).items():
            if thread.given_back and thread.mark is not None:
                free.setdefault(place_of(thread.mark).level, {})[call] = thread.mark.seq
        return free

    async def _notes(self, queues: Collection[str] | None) -> Sequence[Stored]:
        if queues is None:
            return await self._registry.all()
        subjects = [self._session.subjects.queue(queue_token(queue)) for queue in queues]
        return await self._session.reader.last(subjects) if subjects else []

    async def _statuses(self, queue: bytes) -> dict[int, Status]:
        of = list(levels())
        found = await asyncio.gather(*(self._consumers.status(queue, level) for level in of))
        return dict(zip(of, found, strict=True))

    async def _count(self, queue: str, paused: Collection[bytes]) -> Counts:
        name = queue_token(queue)
        subjects = self._session.subjects
        is_paused = subjects.queue(name) in paused
        total = await self._session.reader.count(subjects.of_queue(b"*", name))
        if not total:
            return Counts(paused=is_paused)
        statuses = await self._statuses(name)
        # who purges the stream deletes the note, and has nothing delivered that was paused before
        is_paused = is_paused or any(status.paused for status in statuses.values())
        if total > _NAMED:
            return await self._estimate(name, statuses, paused=is_paused)
        tally = await self._tally(name)
        free: Mapping[int, Mapping[bytes, int]] = {}
        if tally.marks:
            free = await self._given_back(name)
        leased = sum(
            min(len(calls), max(0, statuses[level].leased - len(free.get(level, _NONE))))
            for level, calls in tally.queued.items()
        )
        queued = sum(map(len, tally.queued.values()))
        return Counts(queued - leased, len(tally.scheduled), leased, tally.dead, is_paused)

    async def _tally(self, queue: bytes) -> _Tally:
        """The messages of a queue, at one moment."""
        subjects = self._session.subjects.of_queue(b"*", queue)
        answer = await self._session.api(
            f"STREAM.INFO.{self._session.subjects.stream}", {"subjects_filter": subjects.decode()}
        )
        tally = _Tally({}, set(), {})
        found: dict[str, int] = answer["state"].get("subjects") or {}
        for subject in found:
            tokens = subject.encode().split(b".")
            kind, level, call = tokens[3], int(tokens[5]), tokens[6]
            if kind == Kind.SCHEDULED:
                tally.scheduled.add(call)
            elif kind == Kind.QUEUED:
                tally.queued.setdefault(level, set()).add(call)
            else:
                tally.dead += kind == Kind.DEAD
                tally.marks += kind == Kind.MARK
                if kind == Kind.DEAD:
                    tally.buried.setdefault(tokens[7], []).append(subject.encode())
        for calls in tally.queued.values():
            calls.difference_update(tally.scheduled)
        threads = await self._session.threads.look(tally.doubtful)
        for call, thread in threads.items():
            at = place_of(thread.message).level if thread.live and thread.message else None
            for level, calls in tally.queued.items():
                if level != at:
                    calls.discard(call)
        tally.dead -= await self._replayed(tally, threads)
        return tally

    async def _replayed(self, tally: _Tally, threads: Mapping[bytes, Thread]) -> int:
        """How many letters only stand for what is live again."""
        live = tally.scheduled.union(*tally.queued.values())
        letters = [one for call, some in tally.buried.items() if call in live for one in some]
        if not letters:
            return 0
        replaced = {thread.replaced for thread in threads.values()}
        found = await self._session.reader.last(letters)
        return len(letters) - sum(
            GONE not in one.headers and one.seq not in replaced for one in found
        )

    async def _estimate(
        self, queue: bytes, statuses: Mapping[int, Status], *, paused: bool
    ) -> Counts:
        """The counts of a long queue, from one moment for each of them."""
        reader, subjects = self._session.reader, self._session.subjects
        delayed, dead = await asyncio.gather(
            reader.count(subjects.of_queue(Kind.SCHEDULED, queue)),
            reader.count(subjects.letters(queue)),
        )
        free = sum(map(len, (await self._given_back(queue)).values()))
        leased = max(0, sum(status.leased for status in statuses.values()) - free)
        ready = free + sum(status.waiting for status in statuses.values())
        return Counts(ready, delayed, leased, dead, paused)


def _replaced(messages: Iterable[Stored]) -> Sequence[int]:
    return [int(one.headers[REPLACES]) for one in messages if REPLACES in one.headers]


def _encode(queue: str) -> bytes:
    return queue.encode("utf-8", "surrogatepass")


def _decode(body: bytes) -> str:
    return body.decode("utf-8", "surrogatepass")
