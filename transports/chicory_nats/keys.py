"""Unique keys: each is held by one live message at most.

A key is a note that names the call which holds it, and counts for as long as the message of that
call is live. It is taken before the message is stored: in one step with it, which costs the server
some milliseconds, only where the message is one of several that must be stored together.

Who dies in between leaves a key that nobody holds, and who finds such a key cannot tell whether the
message is about to come. So he changes the thread of that call, which the message expects to be as
it was before the key was taken: it is refused, and has to take the key anew.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping, Sequence

from msgspec import Struct

from chicory_nats.headers import CALL, UNTIL
from chicory_nats.intents import Intent
from chicory_nats.notes import bar, key_holder
from chicory_nats.reading import Stored
from chicory_nats.session import Session
from chicory_nats.subjects import place_of
from chicory_nats.thread import Thread


class Holder(Struct, frozen=True):
    """Who a key names.

    Attributes:
        note: where it does.
        thread: of the call that it names.
    """

    note: Stored
    thread: Thread

    @property
    def identity(self) -> bytes:
        """That of the message."""
        return self.note.headers.get(CALL, b"")

    @property
    def task_id(self) -> str:
        """That of the call."""
        return self.note.body.decode("utf-8", "surrogatepass")

    def holds(self, now: float, ending: bytes) -> bool:
        """Whether the key is in use: its time is not over, and its holder still to be settled.

        ``ending``: the identity of a message whose end is part of the same step.
        """
        return (
            self._is_in_time(now)
            and self.thread.live
            and self.thread.call == self.identity
            and self.identity != ending
        )

    def may_come(self, now: float, *, at_once: bool) -> bool:
        """Whether its message may be about to be stored, or may be there all the same.

        ``at_once``: the thread was read at one moment; else what seems to have ended may have been
        continued meanwhile.
        """
        has_ended = at_once and self.identity in self.thread.ended
        return self._is_in_time(now) and not self.thread.live and not has_ended

    def _is_in_time(self, now: float) -> bool:
        return float(self.note.headers.get(UNTIL, b"0")) > now


class Keys:
    """Finds, takes and frees keys by batch."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def take(self, intents: Sequence[Intent]) -> Sequence[bool]:
        """Have publications hold their keys; whether each one does, or needs none."""
        unique = [one for one in intents if one.publication.unique is not None]
        if not unique:
            return [True] * len(intents)
        subjects = self._session.subjects
        taken = iter(await self._session.send([key_holder(subjects, one) for one in unique]))
        return [one.publication.unique is None or bool(next(taken)) for one in intents]

    async def find(self, intents: Iterable[Intent]) -> Mapping[str, Holder]:
        """Who holds the keys of publications; only of those keys that are noted."""
        wanted = {
            self._session.subjects.unique(unique.key): unique.key
            for one in intents
            if (unique := one.publication.unique) is not None
        }
        if not wanted:
            return {}
        notes = {wanted[note.subject]: note for note in await self._session.reader.last([*wanted])}
        found = await self._session.threads.look(map(_call, notes.values()))
        return {key: Holder(note, found[_call(note)]) for key, note in notes.items()}

    async def free(self, holders: Collection[Holder], intents: Sequence[Intent]) -> bool:
        """Have no message come any more for these; whether there is none.

        Those who are freed may be on their way themselves, as some of ``intents``.
        """
        now, at_once = time.time(), self._session.reader.at_once
        doubtful = {
            _call(one.note): one.thread.top for one in holders if one.may_come(now, at_once=at_once)
        }
        if not doubtful:
            return True
        bars = [bar(self._session.subjects, call, top) for call, top in doubtful.items()]
        tops = dict(zip(doubtful, await self._session.send(bars), strict=True))
        for one in intents:
            one.expected = tops.get(one.place.call) or one.expected
        return all(tops.values())


def _call(note: Stored) -> bytes:
    return place_of("", 0, note.body.decode("utf-8", "surrogatepass")).call
