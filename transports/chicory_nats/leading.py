"""Reading from the leader of a stream that has replicas.

The quick way to read is answered by any replica, which may be behind: what one has just stored
oneself could be missing. The leader answers for one message at a time.
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from chicory.errors import BrokerConnectionError
from chicory_nats.connection import TIMEOUT
from chicory_nats.exchange import Exchange
from chicory_nats.headers import parse
from chicory_nats.reading import Page, Stored, count_named
from chicory_nats.subjects import Kind
from chicory_nats.wire import Outgoing

_THREAD = b".m.*.*.*."
_PAUSE = 0.01


class _State(Struct, frozen=True):
    last_seq: int = 0


class _Cluster(Struct, frozen=True):
    leader: str = ""


class _Position(Struct, frozen=True):
    state: _State = _State()
    cluster: _Cluster = _Cluster()


class LeaderReader:
    """Reads as ``Reader`` does.

    ``call(request, body)`` makes a request to JetStream's API.
    """

    at_once = False

    def __init__(
        self, exchange: Exchange, stream: str, call: Callable[[str, dict[str, Any]], Outgoing]
    ) -> None:
        self._exchange = exchange
        self._stream = stream
        self._call = call

    async def reach(self, seq: int) -> str:
        """Wait until the leader has stored a message that was delivered; the leader's name.

        The consumer may have another leader, and a replica can be ahead of its stream's leader:
        what a consumer delivers can be news to that one for a moment.

        Raises:
            BrokerConnectionError: it did not come to that in time.
        """
        end = time.monotonic() + TIMEOUT
        while (position := await self._position()).state.last_seq < seq:
            if time.monotonic() > end:
                raise BrokerConnectionError(
                    f"the leader of stream {self._stream} has not stored message {seq}, which "
                    f"a consumer delivered {TIMEOUT:g} s ago: see the log of nats-server"
                )
            await asyncio.sleep(_PAUSE)
        return position.cluster.leader

    async def last(self, subjects: Sequence[bytes]) -> Sequence[Stored]:
        """The last message of each subject; of a thread that of each kind."""
        each = [one for subject in subjects for one in _by_kind(subject)]
        found = await self._get([{"last_by_subj": one.decode()} for one in each])
        return [one for one in found if one is not None]

    async def page(self, subjects: bytes, first: int = 1, limit: int = 100) -> Page:
        """Messages from a sequence number on, the oldest first."""
        messages: list[Stored] = []
        async for stored in self.scan(subjects, first):
            messages.append(stored)
            if len(messages) >= limit:
                break
        return Page(messages, 0)

    async def hold(self, wanted: Sequence[tuple[bytes, int]]) -> Sequence[bool]:
        """Whether there are messages; ``wanted``: subjects, and the first sequence number."""
        requests = [{"seq": first, "next_by_subj": one.decode()} for one, first in wanted]
        return [stored is not None for stored in await self._get(requests)]

    async def scan(self, subjects: bytes, first: int = 1) -> AsyncIterator[Stored]:
        """All messages from a sequence number on, the oldest first."""
        while True:
            (stored,) = await self._get([{"seq": first, "next_by_subj": subjects.decode()}])
            if stored is None:
                return
            yield stored
            first = stored.seq + 1

    async def count(self, subjects: bytes) -> int:
        """How many messages there are."""
        info = self._call(f"STREAM.INFO.{self._stream}", {}).subject
        return await count_named(self._exchange, info, subjects)

    async def _position(self) -> _Position:
        asked = self._call(f"STREAM.INFO.{self._stream}", {})
        return msgspec.json.decode(await self._exchange.ask(asked), type=_Position)

    async def _get(self, requests: Sequence[dict[str, Any]]) -> Sequence[Stored | None]:
        name = f"STREAM.MSG.GET.{self._stream}"
        answers = await self._exchange.send([self._call(name, one) for one in requests])
        return [_stored(answer) for answer in answers]


def _by_kind(subject: bytes) -> Sequence[bytes]:
    if _THREAD not in subject:
        return [subject]
    return [subject.replace(_THREAD, b".m.%b.*.*." % kind) for kind in Kind.OF_THREADS]


def _stored(answer: bytes) -> Stored | None:
    message = msgspec.json.decode(answer).get("message")
    if message is None:
        return None
    block = parse(base64.b64decode(message.get("hdrs", "")))
    block[b"Nats-Time-Stamp"] = message["time"].encode()
    body = base64.b64decode(message.get("data", ""))
    return Stored(message["subject"].encode(), message["seq"], block, body)
