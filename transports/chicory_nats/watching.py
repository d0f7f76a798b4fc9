"""Records pushed to those who watch.

The server publishes every record once it is stored. What is pushed may be the outcome of a message
that is not removed yet: sinks are called when it is.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection

from msgspec import Struct

from chicory.errors import ChicoryError
from chicory_nats.headers import GONE, SETTLES, UNTIL, parse
from chicory_nats.names import token
from chicory_nats.session import Session
from chicory_nats.thread import Thread

Sink = Callable[[str, bytes], None]

logger = logging.getLogger("chicory.nats")


class _Watched(Struct):
    task_id: str
    sink: Sink
    sid: int
    seen: int = 0


class Watcher:
    """The watched calls of a connection.

    ``deliver(sink, task_id, body)`` calls a sink on the event loop that it belongs to.
    """

    def __init__(self, session: Session, deliver: Callable[[Sink, str, bytes], None]) -> None:
        self._session = session
        self._deliver = deliver
        self._watched: dict[bytes, _Watched] = {}
        self._pushed: dict[bytes, tuple[int, bytes]] = {}
        self._checking: asyncio.Task[None] | None = None
        session.connection.on_up(self.look_again)

    async def watch(self, task_ids: Collection[str], sink: Sink) -> None:
        """Have a sink called for the record of each call, the one that is stored first."""
        calls = {token(task_id).encode(): task_id for task_id in task_ids}
        fresh: list[bytes] = []
        for call, task_id in calls.items():
            known = self._watched.get(call)
            if known is None:
                sid = self._session.connection.reserve(
                    self._session.subjects.pushed(call), self._receive
                )
                self._watched[call] = _Watched(task_id, sink, sid)
                fresh.append(call)
            else:
                self._watched[call] = _Watched(task_id, sink, known.sid)
        await self._session.connection.announce([self._watched[call].sid for call in fresh])
        await self._look(list(calls))

    def unwatch(self, task_ids: Collection[str]) -> list[int]:
        """Call the sinks of these ids no more; the subscriptions to end."""
        calls = [token(task_id).encode() for task_id in task_ids]
        gone = [self._watched.pop(call) for call in calls if call in self._watched]
        for watched in gone:
            self._session.connection.forget(watched.sid)
        return [watched.sid for watched in gone]

    async def look_again(self) -> None:
        """Hear of what was stored while the connection was lost."""
        await self._look(list(self._watched))

    async def _look(self, calls: Collection[bytes]) -> None:
        found = await self._session.look(calls)
        await self._session.finish(found.values())
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
        if GONE in block or float(block.get(UNTIL, b"0")) < time.time():
            return
        seq = int(block[b"Nats-Sequence"])
        if SETTLES not in block:
            self._tell(call, seq, body)
            return
        self._pushed[call] = seq, body
        if self._checking is None:
            self._checking = asyncio.get_running_loop().create_task(self._check())

    async def _check(self) -> None:
        """See to it that settlements whose records were pushed are over."""
        try:
            while self._pushed:
                pushed, self._pushed = self._pushed, {}
                found = await self._session.look(pushed)
                await self._session.finish(found.values())
                for call, (seq, body) in pushed.items():
                    self._tell(call, *_latest(found[call], seq, body))
        except ChicoryError as error:
            logger.warning("records cannot be read: %s; looking again when connected", error)
        finally:
            self._checking = None


def _latest(found: Thread, seq: int, body: bytes) -> tuple[int, bytes]:
    """The record that was pushed, or the one that has replaced it."""
    stored = found.record
    if stored is None or stored.seq <= seq or GONE in stored.headers:
        return seq, body
    return stored.seq, stored.body
