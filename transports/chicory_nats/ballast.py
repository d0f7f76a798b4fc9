"""Room that is kept so that settling works where the server has no more.

A settlement frees more than it needs, but needs it first; so does what comes before it, a claim
or the note on a new start of the server. So every stream holds a message that nobody reads, and
that is thrown out when one of these is refused for lack of room.
"""

from __future__ import annotations

from collections.abc import Sequence

from chicory.errors import QueueFullError
from chicory_nats.headers import expect
from chicory_nats.session import Session
from chicory_nats.wire import Outgoing, Request

_SIZE = 128 << 10
_HEADERS = 4 << 10
"""Bytes of ``max_payload`` that are left for them."""


class Ballast:
    """The ballast of a namespace's stream."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def take_in(self) -> None:
        """Have ballast, if there is room for it."""
        subject = self._session.subjects.ballast()
        size = min(_SIZE, self._session.connection.max_payload - _HEADERS)
        try:
            await self._session.send([Outgoing(subject, expect(0, subject), bytes(size))])
        except QueueFullError:
            return

    async def send(self, requests: Sequence[Request]) -> Sequence[int]:
        """Store messages as ``Session.send`` does, in the place of the ballast if need be."""
        try:
            return await self._session.send(requests)
        except QueueFullError:
            if not await self._session.purge(self._session.subjects.ballast()):
                raise
        return await self._session.send(requests)
