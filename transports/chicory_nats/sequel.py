"""What follows an outcome: stored after it, and until then written in it. Pure.

A retry with a record, or a dead letter, is two messages. JetStream could store both in one step, an
atomic batch, which costs it some milliseconds. So the outcome is stored alone, and says at the end
of its body what comes after it: from then on that is certain, as an entry of a log is that is
written ahead. Whoever stored it stores that next, and acknowledges the message. Where he dies
before, whoever reads the thread, and finds the message and such an outcome, does.

What it says is what differs from the leased message, which is there until then: nearly all of a
letter is that message, and of a retry mostly too. So it takes little room, of which a server may
have none left.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec import Struct

from chicory_nats.headers import SEQUEL, expect, line
from chicory_nats.subjects import Subjects
from chicory_nats.wire import Outgoing

_LARGEST = 16 << 10
"""Bytes that are rather written twice than in an atomic batch; more of them may find no room."""


class Sequel(Struct, frozen=True):
    """What follows an outcome.

    Attributes:
        call: whose outcome.
        outcome: its sequence number.
        message: what is stored after it.
    """

    call: bytes
    outcome: int
    message: Outgoing

    def request(self, subjects: Subjects) -> Outgoing:
        """The message, to be stored while the outcome is the end of its thread.

        Where it is not, it is stored already: nobody else changes a thread before.
        """
        guard = expect(self.outcome, subjects.thread(self.call))
        return Outgoing(self.message.subject, guard + self.message.headers, self.message.body)


class Preface(Outgoing, frozen=True):
    """An outcome that says what follows it; ``message``: that, without the guard that it needs."""

    message: Outgoing = Outgoing(b"")


def attach(outcome: Outgoing, message: Outgoing, leased: bytes, room: int) -> Preface | None:
    """The outcome with what follows it; ``None`` where that is too much.

    ``leased``: the body of the message that was; ``room``: bytes that a message may have.
    """
    written = _encode((message.subject, message.headers, *_difference(leased, message.body)))
    headers = outcome.headers + line(SEQUEL, len(written))
    whole = Preface(outcome.subject, headers, outcome.body + written, message)
    return whole if len(written) <= _LARGEST and whole.size <= room else None


def before(headers: Mapping[bytes, bytes], body: bytes) -> bytes:
    """The body of an outcome without what follows it."""
    return body[: len(body) - _size(headers)]


def after(headers: Mapping[bytes, bytes], body: bytes, leased: bytes) -> Outgoing | None:
    """What follows an outcome; ``None`` for nothing. ``leased``: as when it was attached."""
    size = _size(headers)
    if not size:
        return None
    subject, block, start, changed, end = _decode(body[len(body) - size :])
    return Outgoing(subject, block, leased[:start] + changed + leased[len(leased) - end :])


def _difference(old: bytes, new: bytes) -> tuple[int, bytes, int]:
    """How many bytes at the start are the same, what is new after them, and how many at the end."""
    start = _shared(old, new)
    end = _shared(old[start:][::-1], new[start:][::-1])
    return start, new[start : len(new) - end], end


def _shared(one: bytes, other: bytes) -> int:
    """How many bytes at the start of both are the same."""
    same, different = 0, min(len(one), len(other)) + 1
    while different - same > 1:
        middle = (same + different) // 2
        if one[same:middle] == other[same:middle]:
            same = middle
        else:
            different = middle
    return same


def _size(headers: Mapping[bytes, bytes]) -> int:
    return int(headers.get(SEQUEL, b"0"))


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[bytes, bytes, int, bytes, int]).decode
