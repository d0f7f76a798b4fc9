"""Records pushed to those who watch.

The server publishes every record once more when it is stored. What is pushed counts from then on,
also where it is the outcome of a message that is still to be acknowledged.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping

from msgspec import Struct

from chicory_nats.denials import Denial
from chicory_nats.headers import AGAIN, GONE, UNTIL, expect, parse
from chicory_nats.names import token
from chicory_nats.sequel import before
from chicory_nats.session import Session
from chicory_nats.wire import Outgoing

Sink = Callable[[str, bytes], None]

_NEVER = 1 << 62
"""A sequence number that no stream comes to."""


class _Watched(Struct):
    task_id: str
    sink: Sink
    sid: int
    seen: int = 0
    denied: Denial | None = None
    begun: bool = False


class Watcher:
    """The watched calls of a connection.

    ``deliver(sink, task_id, body)`` calls a sink on the event loop that it belongs to.
    """

    def __init__(self, session: Session, deliver: Callable[[Sink, str, bytes], None]) -> None:
        self._session = session
        self._deliver = deliver
        self._watched: dict[bytes, _Watched] = {}
        session.connection.on_up(self.look_again)
        session.connection.denials.on(self._deny)

    async def watch(self, task_ids: Collection[str], sink: Sink) -> None:
        """Have a sink called for the record of each call, the one that is stored first."""
        calls = {token(task_id).encode(): task_id for task_id in task_ids}
        fresh: list[bytes] = []
        for call, task_id in calls.items():
            known = self._watched.get(call)
            if known is None:
                sid = self._session.connection.subscriptions.reserve(
                    self._session.subjects.pushed(call), self._receive
                )
                self._watched[call] = _Watched(task_id, sink, sid)
                fresh.append(call)
            else:
                self._watched[call] = _Watched(task_id, sink, known.sid, denied=known.denied)
        self._session.connection.subscriptions.announce([self._watched[call].sid for call in fresh])
        await self._look(list(calls))
        self._begin(calls)

    def unwatch(self, task_ids: Collection[str]) -> list[int]:
        """Call the sinks of these ids no more; the subscriptions to end."""
        calls = [token(task_id).encode() for task_id in task_ids]
        gone = [self._watched.pop(call) for call in calls if call in self._watched]
        for watched in gone:
            self._session.connection.subscriptions.forget(watched.sid)
        return [watched.sid for watched in gone]

    async def look_again(self) -> None:
        """Hear of what was stored while the connection was lost."""
        await self._look(list(self._watched))

    async def _be_heard(self) -> None:
        """Return once the servers of a cluster know who listens.

        They tell one another beside the requests that are made. What is published in the stream
        comes after it: here something that is never stored.
        """
        if self._session.connection.server.get("cluster"):
            nothing = self._session.subjects.void()
            await self._session.send([Outgoing(nothing, expect(_NEVER, nothing))])

    def _begin(self, calls: Mapping[bytes, str]) -> None:
        """Raise where these may not be heard of, which the server says before it answers."""
        watched = [self._watched[call] for call in calls if call in self._watched]
        denied = next((one.denied for one in watched if one.denied is not None), None)
        if denied is not None:
            self._session.connection.subscriptions.end(*self.unwatch(calls.values()))
            raise self._session.connection.denials.error(denied)
        for one in watched:
            one.begun = True

    def _deny(self, denial: Denial) -> bool:
        call = denial.subject.rpartition(b".")[2]
        watched = self._watched.get(call)
        if watched is None or denial != Denial(self._session.subjects.pushed(call), hears=True):
            return False
        watched.denied = denial
        return not watched.begun

    async def _look(self, calls: Collection[bytes]) -> None:
        if not calls:
            return
        await self._be_heard()
        found = await self._session.threads.look(calls)
        now = time.time()
        for call, thread in found.items():
            body = thread.body(now)
            if body is not None and thread.record is not None:
                self._tell(call, thread.record.seq, body)

    def _tell(self, call: bytes, seq: int, body: bytes) -> None:
        watched = self._watched.get(call)
        if watched is not None and seq > watched.seen:
            watched.seen = seq
            self._deliver(watched.sink, watched.task_id, body)

    def _receive(self, subject: bytes, _reply: bytes, headers: bytes | None, body: bytes) -> None:
        call, block = subject.rpartition(b".")[2], parse(headers)
        if GONE in block or AGAIN in block or float(block.get(UNTIL, b"0")) < time.time():
            return
        self._tell(call, int(block[b"Nats-Sequence"]), before(block, body))
