"""Dead letters: read by page, replayed or discarded one by one."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from msgspec import Struct

from chicory.transport import Accepted, DeadLetter, Publication
from chicory_nats.consumers import queue_token
from chicory_nats.epitaph import read_letter
from chicory_nats.headers import GONE, expect
from chicory_nats.intents import Intent, intent, marks, runs
from chicory_nats.messages import continued, in_place_of, together
from chicory_nats.names import token
from chicory_nats.notes import bar
from chicory_nats.publishing import Publisher
from chicory_nats.queues import Registry
from chicory_nats.reading import Stored
from chicory_nats.session import RESERVE, Session
from chicory_nats.subjects import Kind
from chicory_nats.thread import Thread
from chicory_nats.wire import Batch, Request

_REMEMBERED = 1000


class _Order(Struct):
    """A replay on its way; ``answer``: whether the message is there, once that is known."""

    letter_id: str
    wanted: Intent
    answer: bool | None = None


class Letters:
    """The dead letters of a namespace. Those of one id: the one stored last."""

    def __init__(self, session: Session, publisher: Publisher, registry: Registry) -> None:
        self._session = session
        self._publisher = publisher
        self._registry = registry
        self._places: dict[str, int] = {}

    async def page(self, queue: str | None, after: str | None, limit: int) -> Sequence[DeadLetter]:
        """Letters in the order in which they were stored; all where ``after`` was never seen."""
        name = None if queue is None else token(queue).encode()
        subjects = self._session.subjects.letters(name)
        first = 1 if after is None else await self._place(after) + 1
        if limit < 1:
            return []
        while True:
            page = await self._session.reader.page(subjects, first, limit)
            present, _ = await self._present(page.messages)
            if present or not page.messages:
                break
            first = page.messages[-1].seq + 1  # an empty answer says that there are no more
        letters = [read_letter(stored) for stored in present]
        for letter, stored in zip(letters, present, strict=True):
            self._remember(letter.id, stored.seq)
        return letters

    async def find(self, letter_ids: Sequence[str]) -> Sequence[DeadLetter | None]:
        """Letters by id."""
        found, _ = await self._find(letter_ids)
        return [read_letter(found[one]) if one in found else None for one in letter_ids]

    async def discard(self, letter_ids: Sequence[str]) -> Sequence[bool]:
        """Delete letters; whether each one was there."""
        _, threads = await self._find(letter_ids)
        await self._conclude(threads)
        found, _ = await self._find(letter_ids)
        wanted = [found[one].seq if one in found else 0 for one in letter_ids]
        present = [seq for seq in wanted if seq]
        deleted = iter(await self._session.delete(present))
        return [bool(seq) and next(deleted) for seq in wanted]

    async def purge(self, queue: str) -> int:
        """Delete the letters of a queue; how many."""
        session, name = self._session, queue_token(queue)
        subjects, reader = session.subjects, session.reader
        messages = (await reader.page(subjects.of_queue(Kind.QUEUED, name), limit=1)).messages
        for oldest in messages:  # what a letter is made of is older than it
            page = await reader.page(subjects.letters(name), oldest.seq)
            while page.messages:
                _, threads = await self._present(page.messages)
                await self._conclude(threads)
                page = await reader.page(subjects.letters(name), page.messages[-1].seq + 1)
        return await session.purge(subjects.letters(name))

    async def replay(self, items: Sequence[tuple[str, Publication]]) -> Sequence[bool]:
        """Exchange letters for messages; of two replays of one letter the first succeeds."""
        queues = (publication.queue for _, publication in items)
        await self._registry.register(queues, self._session.send)
        orders = [_Order(letter_id, intent(publication)) for letter_id, publication in items]
        for run in runs(orders, _marks):
            while left := [order for order in run if order.answer is None]:
                await self._attempt(left)
        return [bool(order.answer) for order in orders]

    async def _attempt(self, orders: Sequence[_Order]) -> None:
        """Store messages where nothing is in the way; which of them are is known then."""
        judged = await self._publisher.judge([order.wanted for order in orders])
        # after their threads: who replays a letter changes one before the letter is gone
        found, threads = await self._find([order.letter_id for order in orders])
        ready: list[tuple[_Order, Stored, Request]] = []
        for order, outcome in zip(orders, judged, strict=True):
            letter = found.get(order.letter_id)
            if letter is None or outcome is not None:
                order.answer = isinstance(outcome, Accepted)
            else:
                ready.append((order, letter, self._request(order.wanted, letter, threads)))
        requests = [request for *_, request in ready]
        self._session.measure(requests, reserve=RESERVE)
        stored = await self._session.send(requests)
        doomed: list[int] = []
        for (order, letter, request), seq in zip(ready, stored, strict=True):
            if seq:
                order.answer = True
                doomed.append(_remains(request, letter, seq))
        await self._session.delete(doomed)

    def _request(self, wanted: Intent, letter: Stored, threads: Mapping[bytes, Thread]) -> Request:
        """What takes the place of a letter.

        The message of the same call names the letter as that which it continues: it counts from
        then on, and whoever comes upon both removes the letter. What has a key, or another id,
        is stored in one step with its removal.
        """
        subjects, call = self._session.subjects, _call(letter)
        if wanted.place.call == call and wanted.publication.unique is None:
            return continued(subjects, wanted, letter.seq)
        messages = together(subjects, wanted)[::-1]
        if wanted.place.call != call:
            messages = [bar(subjects, call, threads[call].top), *messages]
        guard = expect(letter.seq, letter.subject)
        return Batch(in_place_of(letter.subject, guard, messages))

    async def _conclude(self, threads: Mapping[bytes, Thread]) -> None:
        """Have letters of these calls that are removed from now on stay away.

        Who has read the thread may be about to store one that is there already.
        """
        bars = [
            bar(self._session.subjects, call, thread.top)
            for call, thread in threads.items()
            if thread.may_be_followed
        ]
        await self._session.insist(bars)

    async def _place(self, letter_id: str) -> int:
        """The sequence number of a letter, which may be gone by now; 0 where it is unknown."""
        if letter_id not in self._places:
            found, _ = await self._find([letter_id])
            self._places.update({one: stored.seq for one, stored in found.items()})
        return self._places.get(letter_id, 0)

    def _remember(self, letter_id: str, seq: int) -> None:
        self._places.pop(letter_id, None)
        self._places[letter_id] = seq
        while len(self._places) > _REMEMBERED:
            del self._places[next(iter(self._places))]

    async def _find(
        self, letter_ids: Collection[str]
    ) -> tuple[dict[str, Stored], Mapping[bytes, Thread]]:
        """Letters by id, and the threads of their calls."""
        tokens = {token(one).encode(): one for one in letter_ids}
        if not tokens:
            return {}, {}
        subjects = [self._session.subjects.find_letter(one) for one in tokens]
        present, threads = await self._present(await self._session.reader.last(subjects))
        if any(thread.remnant for thread in threads.values()):  # so its letter was stored anew
            present, threads = await self._present(await self._session.reader.last(subjects))
        ordered = sorted(present, key=lambda one: one.seq)
        return {tokens[one.subject.split(b".")[6]]: one for one in ordered}, threads

    async def _present(
        self, letters: Sequence[Stored]
    ) -> tuple[Sequence[Stored], Mapping[bytes, Thread]]:
        """Those in whose place there is no message, and the threads of all."""
        there = [one for one in letters if GONE not in one.headers]
        threads = await self._session.threads.look(map(_call, there))
        await self._session.finish(threads.values())
        return [one for one in there if threads[_call(one)].replaced != one.seq], threads


def _call(letter: Stored) -> bytes:
    return letter.subject.rpartition(b".")[2]


def _remains(request: Request, letter: Stored, last: int) -> int:
    """Where what a replay has left is: the letter, or what stands in its place."""
    return last - len(request.messages) + 1 if isinstance(request, Batch) else letter.seq


def _marks(order: _Order) -> tuple[object, ...]:
    return (("letter", order.letter_id), *marks(order.wanted.publication))
