"""Dead letters: read by page, replayed or discarded one by one."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from chicory.transport import Accepted, DeadLetter, Publication
from chicory_nats.epitaph import read_letter
from chicory_nats.headers import GONE, expect
from chicory_nats.intents import Intent, intent
from chicory_nats.messages import in_place_of, together
from chicory_nats.names import token
from chicory_nats.publishing import Publisher
from chicory_nats.queues import Registry
from chicory_nats.reading import Stored
from chicory_nats.session import RESERVE, Session
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
        found = await self._stored(letter_ids)
        # where a message is left of which this follows, it would come back
        calls = (letter.subject.rpartition(b".")[2] for letter in found.values())
        await self._session.finish((await self._session.threads.look(calls)).values())
        found = await self._stored(letter_ids)
        wanted = [found[one].seq if one in found else 0 for one in letter_ids]
        present = [seq for seq in wanted if seq]
        deleted = iter(await self._session.delete(present))
        return [bool(seq) and next(deleted) for seq in wanted]

    async def replay(self, items: Sequence[tuple[str, Publication]]) -> Sequence[bool]:
        """Exchange letters for messages; of two replays of one letter the first succeeds."""
        queues = (publication.queue for _, publication in items)
        await self._registry.register(queues, self._session.send)
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
