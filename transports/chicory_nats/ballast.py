"""Room that is kept so that settling works where the server has no more.

A settlement frees more than it needs, but needs it first; so does what comes before it, a claim
or the note on a new start of the server. So every stream holds messages that nobody reads, and
that are thrown out when one of these, a cancellation or a lock is refused for lack of room.

A server takes messages until it is full, and so may be fuller than full, by the size of the last
one: the ballast has to be larger than that.
"""

from __future__ import annotations

import math
import time

from chicory.errors import QueueFullError
from chicory_nats.headers import PIECE, expect, line
from chicory_nats.session import Session
from chicory_nats.wire import Outgoing

_SIZE = 128 << 10
_HEADERS = 4 << 10
"""Bytes of ``max_payload`` that are left for them."""
_LEFT = 64 << 10
"""Bytes of the ballast that are left to settle with where the server was overfull."""
_SURE = 60.0
"""Seconds after which ballast is no longer sure to be there."""


class Ballast:
    """The ballast of a namespace's stream, in pieces."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._pieces = 1
        self._taken_in = -math.inf

    async def take_in(self) -> None:
        """Have ballast, as far as there is room for it."""
        self._taken_in = time.monotonic()
        subject = self._session.subjects.ballast()
        size = min(_SIZE, self._session.connection.max_payload - _HEADERS)
        number = last = 0
        for piece in await self._session.reader.last([subject]):
            number, last = int(piece.headers.get(PIECE, b"1")), piece.seq
        while number < self._pieces:
            number += 1
            headers = expect(last, subject) + line(PIECE, number)
            try:
                (last,) = await self._session.send([Outgoing(subject, headers, bytes(size))])
            except QueueFullError:
                return
            if not last:  # somebody else does the same
                return

    async def cover(self, size: int) -> None:
        """Have enough ballast for the sake of a message of so many bytes."""
        pieces = math.ceil((size + _LEFT) / _SIZE)
        if pieces > self._pieces or (pieces > 1 and time.monotonic() > self._taken_in + _SURE):
            self._pieces = max(pieces, self._pieces)
            await self.take_in()
