"""Asking consumers for messages, and what comes back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from secrets import token_hex

import msgspec
from msgspec import Struct

from chicory_nats.acks import Acks
from chicory_nats.headers import parse, status
from chicory_nats.parser import Hook
from chicory_nats.session import Session
from chicory_nats.wire import Outgoing, publish

_BEAT = b"100"
_EMPTY = frozenset({b"404", b"408"})
_PENDING = b"Requests Pending"
_MISSING = b"Nats-Pending-Messages"
"""Of the word that a request brings no more: how many of those asked for were not sent."""
_TOO_MANY_BYTES = b"Exceeds MaxBytes"
_BYTES = 4 << 20
"""Asked for at once. The server ends a connection that takes in its answers too slowly."""
_PATIENCE = 5.0
_LATE = 10.0
_HEARTBEAT = 5.0
_SILENCE = 13.0
"""Seconds without a word after which a consumer that was asked is asked again."""


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


class Lane(Struct):
    """An inbox that messages can be asked to come to; used by one caller at a time.

    Attributes:
        inbox: the first tokens of the subjects that are heard.
        sid: the subscription.
        asked: how many requests were made: each one is answered under its own number.
    """

    inbox: bytes
    sid: int
    asked: int = 0


class Lanes:
    """Keeps inboxes for use again."""

    def __init__(self, session: Session, acks: Acks) -> None:
        self._session = session
        self._acks = acks
        self._free: list[Lane] = []

    def take(self, hook: Hook) -> Lane:
        """Have an inbox."""
        connection = self._session.connection
        if self._free:
            lane = self._free.pop()
            connection.rehook(lane.sid, hook)
            return lane
        inbox = b"_INBOX.%b" % token_hex(12).encode()
        return Lane(inbox, connection.subscribe(inbox + b".*", hook))

    def give_back(self, lane: Lane) -> None:
        """Have an inbox used again: nothing more comes to it."""
        self._free.append(lane)

    async def drop(self, lane: Lane, consumers: Iterable[str]) -> None:
        """End an inbox: what these consumers have sent to it is here, and they keep the rest.

        In a cluster some may come even later, for a message is sent when the replicas know of it.
        """
        connection = self._session.connection
        connection.unsubscribe(lane.sid)
        await self._acks.barrier(consumers)
        asyncio.get_running_loop().call_later(_LATE, connection.forget, lane.sid)


class Pulls:
    """Requests under way together, to consumers whose messages go to one caller.

    Attributes:
        pulls: one request for each level.
    """

    def __init__(self, session: Session, lanes: Lanes, levels: Sequence[Level], limit: int) -> None:
        self.pulls = [Pull(level, limit) for level in levels]
        self._by_consumer = {pull.level.consumer.encode(): pull for pull in self.pulls}
        self._session = session
        self._lanes = lanes
        self._lane: Lane | None = None
        self._first = 0
        self._late: Callable[[Raw], None] | None = None
        self._changed = asyncio.Event()
        self._beats = 0
        self._generation = session.connection.generation

    @property
    def came(self) -> list[Raw]:
        """All that was brought."""
        return [raw for pull in self.pulls for raw in pull.came]

    @property
    def over(self) -> bool:
        """Whether nothing more comes."""
        return all(pull.over for pull in self.pulls)

    async def ask(self, grace: float = 0.0) -> None:
        """Ask for what is there, and wait until all is here.

        ``grace``: seconds to wait where nothing is.
        """
        await self._begin(grace, no_wait=True)
        with suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                await self._until(lambda: self.over)

    async def stand(self, wait: float) -> None:
        """Wait until a pull is over, with a message or without, or a consumer fell silent."""
        await self._begin(wait, no_wait=False)
        end = time.monotonic() + wait + _PATIENCE
        with suppress(TimeoutError):
            while time.monotonic() < end and not any(pull.over for pull in self.pulls):
                self._beats = 0
                async with asyncio.timeout(_SILENCE):
                    await self._until(
                        lambda: (
                            self._beats >= len(self.pulls) or any(pull.over for pull in self.pulls)
                        )
                    )
                if self._broken:
                    return

    async def end(self, late: Callable[[Raw], None]) -> None:
        """Take no more; whatever comes after this is given to ``late``.

        Where this is interrupted it is to be called again.
        """
        lane = self._lane
        if lane is None:
            return
        if self.over and not self._broken:
            self._lanes.give_back(lane)
        else:
            asked = [pull.level.consumer for pull in self.pulls if not pull.over]
            await self._lanes.drop(lane, asked)
        self._lane = None
        self._late = late

    def wake(self) -> None:
        """Look again whether the connection is still the same."""
        self._changed.set()

    async def _begin(self, wait: float, *, no_wait: bool) -> None:
        connection = self._session.connection
        await connection.wait()
        self._generation = connection.generation
        self._lane = lane = self._lanes.take(self._receive)
        self._first = lane.asked
        lane.asked += len(self.pulls)
        commands = [
            pull.command(self._session, b"%b.%d" % (lane.inbox, number), wait, no_wait=no_wait)
            for number, pull in enumerate(self.pulls, self._first)
        ]
        await connection.write(b"".join(commands))

    @property
    def _broken(self) -> bool:
        connection = self._session.connection
        return not connection.is_up or connection.generation != self._generation

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition() and not self._broken:
            self._changed.clear()
            await self._changed.wait()

    def _receive(self, subject: bytes, reply: bytes, headers: bytes | None, body: bytes) -> None:
        if reply:
            self._take(subject, reply, headers, body)
        elif (code := status(headers)) == _BEAT:
            self._beats += 1
        elif code and (number := int(subject.rpartition(b".")[2]) - self._first) >= 0:
            self.pulls[number].end(code, headers)
        self._changed.set()

    def _take(self, subject: bytes, reply: bytes, headers: bytes | None, body: bytes) -> None:
        """Take a message: it comes under its own subject, and its answer names the consumer."""
        parts = reply.split(b".")
        consumer, delivered, seq, *_, left = parts[3:9] if len(parts) == _SHORT else parts[5:11]
        pull = self._by_consumer.get(consumer)
        if pull is not None:
            raw = Raw(pull.level, subject, int(seq), int(delivered), reply, headers, body)
            if self._late is not None:
                self._late(raw)
            else:
                pull.take(raw, int(left))


_SHORT = 9
"""Tokens of the subject of an acknowledgement that names neither domain nor account."""
