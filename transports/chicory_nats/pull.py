"""One request to a consumer for messages, and what it brings."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from chicory_nats.headers import parse
from chicory_nats.session import Session
from chicory_nats.wire import Outgoing, publish

_EMPTY = frozenset({b"404", b"408"})
_PENDING = b"Requests Pending"
_MISSING = b"Nats-Pending-Messages"
"""Of the word that a request brings no more: how many of those asked for were not sent."""
_TOO_MANY_BYTES = b"Exceeds MaxBytes"
_BYTES = 4 << 20
"""Asked for at once. The server ends a connection that takes in its answers too slowly."""
_HEARTBEAT = 5.0


class Level(Struct, frozen=True):
    """One level of one queue, and its rank among those that are fetched from."""

    rank: int
    queue: bytes
    level: int
    consumer: str


class Raw(Struct, frozen=True):
    """A message as JetStream delivered it.

    Attributes:
        level: where it was fetched from.
        subject: its subject.
        seq: its sequence number.
        delivered: how often the server knows that it was delivered.
        ack: where its acknowledgement goes.
        headers: its block of headers.
        body: the bytes published.
    """

    level: Level
    subject: bytes
    seq: int
    delivered: int
    ack: bytes
    headers: bytes | None
    body: bytes


class Pull:
    """One request to one consumer for messages.

    Attributes:
        came: what it brought.
        left: messages that the consumer still had behind the last one.
        over: it brings nothing more.
        failed: the consumer did not answer as it should.
        refused: it has messages, and other requests that are about to get them, or went astray.
        full: it has more messages, and they would be too many bytes.
    """

    def __init__(self, level: Level, limit: int) -> None:
        self.level = level
        self.came: list[Raw] = []
        self.left = 0
        self.over = False
        self.failed = False
        self.refused = False
        self.full = False
        self._limit = self._due = limit
        self._ended = False

    def take(self, raw: Raw, left: int) -> None:
        """Take a message; ``left``: how many the consumer has behind it."""
        self.left = left
        self.came.append(raw)
        self.over = self.over or len(self.came) >= self._due

    def end(self, code: bytes, headers: bytes | None) -> None:
        """Take the word that there are no more than were sent.

        In a cluster it overtakes messages, for these are sent when the replicas know of it.
        """
        if self.over or self._ended:
            return  # a request that has brought all says so once more
        self._ended = True
        missing = parse(headers).get(_MISSING)
        self._due = len(self.came) if missing is None else self._limit - int(missing)
        self.over = len(self.came) >= self._due
        self.full = headers is not None and _TOO_MANY_BYTES in headers
        self.failed = code not in _EMPTY and not self.full
        self.refused = headers is not None and _PENDING in headers

    def command(self, session: Session, inbox: bytes, wait: float, *, no_wait: bool) -> bytes:
        """Ask for what comes within ``wait`` seconds, or, with ``no_wait``, for all there is.

        Without ``wait`` the consumer answers by what it knows, which may lag behind the stream.
        """
        how: dict[str, object] = {}
        if no_wait:
            how["no_wait"] = True
            how["max_bytes"] = max(_BYTES, 2 * session.connection.max_payload)
        if wait:
            how["expires"] = round(wait * 1e9)
        if wait > 2 * _HEARTBEAT:
            how["idle_heartbeat"] = round(_HEARTBEAT * 1e9)
        body = msgspec.json.encode({"batch": self._limit, **how})
        return publish(Outgoing(session.pull(self.level.consumer), b"", body), inbox)
