"""Requests as bytes of the NATS protocol, and their answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import msgspec
from msgspec import Struct

from chicory_nats.headers import VERSION

WRONG_SEQUENCE = frozenset({10071, 10164})
"""A guard did not hold: what was read before has changed."""


class Outgoing(Struct, frozen=True):
    """A message to publish: its header lines, and its body."""

    subject: bytes
    headers: bytes = b""
    body: bytes = b""

    @property
    def size(self) -> int:
        """Bytes that count towards the server's ``max_payload``, with room for a batch's."""
        return len(self.headers) + len(self.body) + _FRAME


class Batch(Struct, frozen=True):
    """Messages that are stored all or none, in one step."""

    messages: Sequence[Outgoing]

    @property
    def size(self) -> int:
        """Bytes of all its messages."""
        return sum(message.size for message in self.messages)


Request: TypeAlias = Outgoing | Batch


def messages(request: Request) -> Sequence[Outgoing]:
    """The messages that a request is sent as."""
    return request.messages if isinstance(request, Batch) else [request]


def render(request: Request, reply: bytes, batch_id: Callable[[], bytes]) -> bytes:
    """The bytes of a request that is answered once, at ``reply``."""
    if isinstance(request, Outgoing):
        return publish(request, reply)
    last, name = len(request.messages), batch_id()
    return b"".join(
        publish(
            message,
            reply if number == last else b"",
            b"Nats-Batch-Id: %b\r\nNats-Batch-Sequence: %d\r\n%b"
            % (name, number, b"Nats-Batch-Commit: 1\r\n" if number == last else b""),
        )
        for number, message in enumerate(request.messages, 1)
    )


def publish(message: Outgoing, reply: bytes = b"", more: bytes = b"") -> bytes:
    """The command that publishes a message."""
    headers, body = message.headers + more if more else message.headers, message.body
    if not headers:
        return b"PUB %b %b %d\r\n%b\r\n" % (message.subject, reply, len(body), body)
    block = len(headers) + _BLOCK
    return b"HPUB %b %b %d %d\r\n%b\r\n%b\r\n%b\r\n" % (
        message.subject,
        reply,
        block,
        block + len(body),
        VERSION,
        headers,
        body,
    )


class Answer(Struct):
    """What the server says of a request; the fields that are told apart here."""

    error: Problem | None = None
    seq: int = 0
    success: bool = False
    purged: int = 0


class Problem(Struct):
    """An error of JetStream."""

    code: int = 0
    err_code: int = 0
    description: str = ""


def is_stored(reply: bytes) -> bool:
    """Whether an answer says that something was stored."""
    return reply.startswith(b'{"stream"')


def stored_at(reply: bytes) -> int:
    """The sequence number of what was stored, 0 where it was not."""
    if not is_stored(reply):
        return 0
    start = reply.index(_SEQ) + len(_SEQ)
    end = reply.find(b",", start)
    return int(reply[start : end if end > 0 else -1])


def problem(reply: bytes) -> Problem | None:
    """The error of an answer, where it is one."""
    if b'"error"' not in reply:
        return None
    return decode(reply).error


def decode(reply: bytes) -> Answer:
    """The fields of an answer."""
    return _answer.decode(reply)


def decode_any(reply: bytes) -> dict[str, Any]:
    """All of an answer."""
    return msgspec.json.decode(reply)


def version(text: str) -> tuple[int, ...]:
    """The numbers of a version."""
    numbers: list[int] = []
    for part in text.partition("-")[0].split("."):
        if not part.isdigit():
            break
        numbers.append(int(part))
    return tuple(numbers)


_SEQ = b'"seq":'
_BLOCK = len(VERSION) + 4
_FRAME = 256
_answer = msgspec.json.Decoder(Answer)
