"""Dead letters as messages. Pure."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from chicory.transport import DeadLetter, Priority
from chicory_nats.names import token
from chicory_nats.reading import Stored
from chicory_nats.subjects import Subjects, place_of
from chicory_nats.wire import Outgoing

_LONGEST_ERROR = 4096
_LONGEST_TYPE = 255


def letter(subjects: Subjects, given: DeadLetter, *, more: bytes = b"") -> Outgoing:
    """A dead letter."""
    place = place_of(given.queue, given.priority, given.task_id)
    subject = subjects.letter(place.queue, place.level, token(given.id).encode(), place.call)
    about = _About(
        given.id,
        given.queue,
        given.task_id,
        given.reason,
        given.error[:_LONGEST_ERROR],
        given.retries,
        given.failed_at,
        int(given.priority),
        given.error_type[-_LONGEST_TYPE:],
    )
    return Outgoing(subject, more, _encode(about) + b"\n" + given.body)


def read_letter(stored: Stored) -> DeadLetter:
    """The dead letter of a message."""
    about, _, body = stored.body.partition(b"\n")
    told = _about.decode(about)
    return DeadLetter(
        _plain(told.id),
        _plain(told.queue),
        _plain(told.task_id),
        body,
        told.reason,
        _plain(told.error),
        told.retries,
        told.failed_at,
        Priority(told.priority),
        _plain(told.error_type),
    )


class _About(Struct, array_like=True):
    id: str
    queue: str
    task_id: str
    reason: str
    error: str
    retries: int
    failed_at: float
    priority: int
    error_type: str = ""  # letters of before have none


def _encode(about: _About) -> bytes:
    about.id, about.queue = _escaped(about.id), _escaped(about.queue)
    about.task_id, about.error = _escaped(about.task_id), _escaped(about.error)
    about.error_type = _escaped(about.error_type)
    return msgspec.json.encode(about)


def _escaped(text: str) -> str:
    """Text that may hold lone surrogates, as text that does not."""
    return text.encode("utf-8", "surrogatepass").decode("latin-1")


def _plain(text: str) -> str:
    return text.encode("latin-1").decode("utf-8", "surrogatepass")


_about = msgspec.json.Decoder(_About)
