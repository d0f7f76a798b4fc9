"""Publications on their way."""

from __future__ import annotations

from msgspec import Struct

from chicory.transport import Publication
from chicory_nats.subjects import Place, place_of
from chicory_nats.ticket import fresh


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
