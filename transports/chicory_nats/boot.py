"""Which messages a server that was killed may have delivered without knowing it any more.

JetStream writes down lazily what it delivered: after a crash a leased message is delivered again
as if for the first time. What was stored since the server started cannot be among those. So the
first client that meets a server it does not know stores that server's identity in the stream:
messages with a higher sequence number are above suspicion.

In a cluster, and behind a leaf node, the one that delivers is another server than the one that the
client sees, and changes without notice: there every delivery is looked into.
"""

from __future__ import annotations

import asyncio

from chicory_nats.connection import TIMEOUT
from chicory_nats.headers import ROLLUP, SERVER, expect, line
from chicory_nats.session import Session
from chicory_nats.wire import Outgoing

_EVERYTHING = 1 << 62


class Boot:
    """Knows the start of the server that this connection is with."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._known = asyncio.Event()
        self._seq = _EVERYTHING
        session.connection.on_down(self._forget)
        session.connection.on_up(self.look)

    @property
    def known(self) -> int | None:
        """What ``since`` says, where it need not wait for it."""
        is_known = self._known.is_set() and self._session.connection.is_up
        return self._seq if is_known else None

    async def since(self) -> int:
        """The sequence number up to which deliveries are suspicious."""
        if not self._known.is_set():
            self._session.connection.check()
            try:
                async with asyncio.timeout(TIMEOUT):
                    await self._known.wait()
            except TimeoutError:
                raise self._session.connection.unreachable() from None
            self._session.connection.check()
        return self._seq

    async def look(self) -> None:
        """Learn it, and what its clock says."""
        await self._session.set_clock()
        server = self._session.connection.server
        if server.get("cluster") or self._session.address.domain is not None:
            self._seq = _EVERYTHING
        else:
            self._seq = await self._find(str(server["server_id"]).encode())
        self._known.set()

    def _forget(self) -> None:
        self._known.clear()
        if self._session.connection.closed:
            self._known.set()  # for those who wait: they get an error

    async def _find(self, server: bytes) -> int:
        subject = self._session.subjects.boot()
        while True:
            last = 0
            for known in await self._session.reader.last([subject]):
                if known.headers.get(SERVER) == server:
                    return known.seq
                last = known.seq
            note = Outgoing(subject, expect(last, subject) + ROLLUP + line(SERVER, server))
            (seq,) = await self._session.insist([note])
            if seq:
                return seq
