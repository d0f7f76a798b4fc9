"""Dead letters: read by page, replayed or discarded one by one."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from chicory.transport import Accepted, DeadLetter, Publication
from chicory_nats.consumers import queue_token
from chicory_nats.epitaph import read_letter
from chicory_nats.headers import GONE, expect
from chicory_nats.intents import Intent, intent
from chicory_nats.messages import in_place_of, together
from chicory_nats.names import token
from chicory_nats.notes import bar
from chicory_nats.publishing import Publisher
from chicory_nats.queues import Registry
from chicory_nats.reading import Stored
from chicory_nats.session import RESERVE, Session
from chicory_nats.subjects import Kind
from chicory_nats.wire import Batch

_REMEMBERED = 1000


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
        page = await self._session.reader.page(subjects, first, limit)
        present = [stored for stored in page.messages if GONE not in stored.headers]
        letters = [read_letter(stored) for stored in present]
        for letter, stored in zip(letters, present, strict=True):
            self._remember(letter.id, stored.seq)
        return letters

    async def find(self, letter_ids: Sequence[str]) -> Sequence[DeadLetter | None]:
        """Letters by id."""
        found = await self._stored(letter_ids)
        return [read_letter(found[one]) if one in found else None for one in letter_ids]

    async def discard(self, letter_ids: Sequence[str]) -> Sequence[bool]:
        """Delete letters; whether each one was there."""
        await self._conclude(map(_call, (await self._stored(letter_ids)).values()))
        found = await self._stored(letter_ids)
        wanted = [found[one].seq if one in found else 0 for one in letter_ids]
        present = [seq for seq in wanted if seq]
        deleted = iter(await self._session.delete(present))
        return [bool(seq) and next(deleted) for seq in wanted]

    async def purge(self, queue: str) -> int:
        """Delete the letters of a queue; how many."""
        subjects, reader, name = self._session.subjects, self._session.reader, queue_token(queue)
        messages = (await reader.page(subjects.of_queue(Kind.QUEUED, name), limit=1)).messages
        for oldest in messages:  # what a letter is made of is older than it
            letters = reader.scan(subjects.letters(name), oldest.seq)
            await self._conclude([_call(letter) async for letter in letters])
        return await self._session.purge(subjects.letters(name))

    async def replay(self, items: Sequence[tuple[str, Publication]]) -> Sequence[bool]:
        """Exchange letters for messages; of two replays of one letter the first succeeds."""
        queues = (publication.queue for _, publication in items)
        await self._registry.register(queues, self._session.send)
        letters = await self._stored([letter_id for letter_id, _ in items])
        await self._conclude(map(_call, letters.values()))
        answers: list[bool] = []
        for letter_id, publication in items:
            answers.append(await self._replay(letter_id, intent(publication)))
        return answers

    async def _replay(self, letter_id: str, wanted: Intent) -> bool:
        while True:
            letter = (await self._stored([letter_id])).get(letter_id)
            if letter is None:
                return False
            subjects = self._session.subjects
            messages = together(subjects, wanted)[::-1]
            self._session.measure(messages, reserve=RESERVE)
            guard = expect(letter.seq, letter.subject)
            exchange = in_place_of(letter.subject, guard, messages)
            (seq,) = await self._session.send([Batch(exchange)])
            if seq:
                await self._session.delete([seq - len(messages)])
                return True
            (outcome,) = await self._publisher.judge([wanted])
            if outcome is not None:
                return isinstance(outcome, Accepted)

    async def _conclude(self, calls: Iterable[bytes]) -> None:
        """Have letters of these calls that are removed from now on stay away.

        Where a message is left of which one was made, it would be made once more; and who has read
        the thread may be about to store one that is there already.
        """
        session = self._session
        found = await session.threads.look(calls)
        await session.finish(found.values())
        bars = [
            bar(session.subjects, call, thread.top)
            for call, thread in found.items()
            if thread.may_be_followed
        ]
        await session.insist(bars)

    async def _place(self, letter_id: str) -> int:
        """The sequence number of a letter, which may be gone by now; 0 where it is unknown."""
        if letter_id not in self._places:
            found = await self._stored([letter_id])
            self._places.update({one: stored.seq for one, stored in found.items()})
        return self._places.get(letter_id, 0)

    def _remember(self, letter_id: str, seq: int) -> None:
        self._places.pop(letter_id, None)
        self._places[letter_id] = seq
        while len(self._places) > _REMEMBERED:
            del self._places[next(iter(self._places))]

    async def _stored(self, letter_ids: Collection[str]) -> dict[str, Stored]:
        tokens = {token(one).encode(): one for one in letter_ids}
        if not tokens:
            return {}
        subjects = [self._session.subjects.find_letter(one) for one in tokens]
        found = await self._session.reader.last(subjects)
        return {
            tokens[stored.subject.split(b".")[6]]: stored
            for stored in sorted(found, key=lambda one: one.seq)
            if GONE not in stored.headers
        }


def _call(letter: Stored) -> bytes:
    return letter.subject.rpartition(b".")[2]
