"""What follows an outcome: stored after it, and until then written in it. Pure.

A retry with a record, or a dead letter, is two messages. JetStream could store both in one step, an
atomic batch, which costs it some milliseconds. So the outcome is stored alone, and says at the end
of its body what comes after it: from then on that is certain, as an entry of a log is that is
written ahead. Whoever stored it stores that next, and acknowledges the message. Where he dies
before, whoever reads the thread, and finds the message and such an outcome, does.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec import Struct

from chicory_nats.headers import SEQUEL, expect, line
from chicory_nats.subjects import Subjects
from chicory_nats.wire import Outgoing

_LARGEST = 64 << 10
"""Bytes that are rather written twice than in an atomic batch."""


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


def attach(outcome: Outgoing, message: Outgoing, room: int) -> Preface | None:
    """The outcome with what follows it; ``None`` where that is too much.

    ``room``: bytes that a message may have.
    """
    written = _encode((message.subject, message.headers, message.body))
    headers = outcome.headers + line(SEQUEL, len(written))
    whole = Preface(outcome.subject, headers, outcome.body + written, message)
    return whole if len(written) <= _LARGEST and whole.size <= room else None


def before(headers: Mapping[bytes, bytes], body: bytes) -> bytes:
    """The body of an outcome without what follows it."""
    return body[: len(body) - _size(headers)]


def after(headers: Mapping[bytes, bytes], body: bytes) -> Outgoing | None:
    """What follows an outcome; ``None`` for nothing."""
    size = _size(headers)
    return Outgoing(*_decode(body[len(body) - size :])) if size else None


def _size(headers: Mapping[bytes, bytes]) -> int:
    return int(headers.get(SEQUEL, b"0"))


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[bytes, bytes, bytes]).decode
