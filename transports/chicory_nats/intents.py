"""Publications on their way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from msgspec import Struct

from chicory.transport import Publication
from chicory_nats.subjects import Place, place_of
from chicory_nats.ticket import fresh

T = TypeVar("T")


class Intent(Struct):
    """A publication on its way.

    Attributes:
        publication: what is to be stored.
        place: where.
        call: the identity that it gets.
        expected: where the thread of its call has to end.
        key_expected: the sequence number that the holder of its unique key has to have.
    """

    publication: Publication
    place: Place
    call: bytes
    expected: int = 0
    key_expected: int = 0


def intent(publication: Publication) -> Intent:
    """A publication that expects its id, and key, never to have been used."""
    place = place_of(publication.queue, publication.priority, publication.task_id)
    return Intent(publication, place, fresh())


def marks(publication: Publication) -> tuple[object, ...]:
    """What no other message may have at the same time: the id, and the unique key."""
    unique = publication.unique
    return (publication.task_id,) if unique is None else (publication.task_id, ("key", unique.key))


def runs(items: Sequence[T], marks_of: Callable[[T], tuple[object, ...]]) -> Sequence[Sequence[T]]:
    """Parts within which no mark comes twice: what becomes of one is news for the next."""
    parts: list[list[T]] = [[]]
    taken: set[object] = set()
    for item in items:
        own = marks_of(item)
        if not taken.isdisjoint(own):
            parts.append([])
            taken.clear()
        parts[-1].append(item)
        taken.update(own)
    return parts
