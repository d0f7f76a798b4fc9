"""What every verb works with: the connection, the namespace, and the requests all need."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from chicory.errors import (
    ChicoryError,
    ConfigurationError,
    MessageTooLargeError,
    QueueFullError,
)
from chicory.transport import TransportSettings
from chicory_nats.address import Address
from chicory_nats.clock import Clock
from chicory_nats.connection import Connection
from chicory_nats.exchange import REPEATED, Exchange
from chicory_nats.headers import AGAIN, line
from chicory_nats.leading import LeaderReader
from chicory_nats.reading import Reader
from chicory_nats.subjects import Subjects
from chicory_nats.thread import Thread
from chicory_nats.threads import Threads
from chicory_nats.translation import NOT_FOUND, translated
from chicory_nats.wire import (
    WRONG_SEQUENCE,
    Batch,
    Outgoing,
    Problem,
    Request,
    decode_any,
    problem,
    stored_at,
)

Store = Callable[[Sequence[Request]], Awaitable[Sequence[int]]]
"""Stores messages; their sequence numbers, 0 where a guard did not hold."""

RESERVE = 64 << 10
"""Bytes of ``max_payload`` that a message leaves, so that it can become a dead letter."""
_LATE = 3.0
"""Seconds that what was sent may be under way."""


class Session:
    """One connection, and the namespace that it serves.

    Attributes:
        lease: seconds that a lease lasts.
        keep: seconds to remember an outcome that is not a record: for whoever is delivered its
            message again, and whoever sends its publication again.
        clock: the server's.
        threads: of its calls.
    """

    def __init__(self, address: Address, settings: TransportSettings) -> None:
        self.address = address
        self.namespace = settings.namespace
        self.lease = settings.lease
        self.keep = max(REPEATED + _LATE, 2 * settings.lease + 2)
        self.clock = Clock()
        self.subjects = Subjects(settings.namespace)
        self._api = _api(address)
        self.connection = Connection(address)
        self.exchange = Exchange(self.connection)
        self.reader = self._reader()
        self.threads = Threads(self.subjects, self.reader, self.insist)

    async def open(self) -> None:
        """Connect."""
        await self.connection.open()
        await self.exchange.open()

    async def send(self, requests: Sequence[Request]) -> Sequence[int]:
        """Store messages; their sequence numbers, 0 where a guard did not hold."""
        answers = await self.exchange.send(requests)
        stored = [stored_at(answer) for answer in answers]
        for answer, seq in zip(answers, stored, strict=True):
            if not seq:
                self._check(problem(answer))
        return stored

    async def insist(self, requests: Sequence[Request]) -> Sequence[int]:
        """Store messages as ``send`` does, in the place of the ballast if need be."""
        try:
            return await self.send(requests)
        except QueueFullError:  # somebody else may have thrown it out in this moment
            await self.purge(self.subjects.ballast())
        return await self.send(requests)

    async def api(self, request: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Ask JetStream's API; the answer without errors other than that there is no such thing.

        Raises:
            QueueFullError, ConfigurationError, BrokerConnectionError: as JetStream has it.
        """
        answer = await self.ask(request, body)
        if "error" in answer:
            error = msgspec.convert(answer["error"], Problem)
            if error.err_code not in NOT_FOUND:
                raise translated(error, self.address)
        return answer

    async def ask(self, request: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Ask JetStream's API; the answer, also where it is an error."""
        return decode_any(await self.exchange.ask(self.call(request, body)))

    async def set_clock(self) -> None:
        """Learn what the server's clock says."""
        begun = time.monotonic()
        answer = await self.ask(f"STREAM.INFO.{self.subjects.stream}")
        if "ts" in answer:
            self.clock.hear(answer["ts"], (begun + time.monotonic()) / 2)

    def call(self, request: str, body: Mapping[str, Any] | None = None) -> Outgoing:
        """A request to JetStream's API."""
        subject = b"%b.%b" % (self._api, request.encode())
        return Outgoing(subject, b"", b"" if body is None else msgspec.json.encode(body))

    def pull(self, consumer: str) -> bytes:
        """Where to ask a consumer for messages."""
        name = f"CONSUMER.MSG.NEXT.{self.subjects.stream}.{consumer}"
        return b"%b.%b" % (self._api, name.encode())

    async def delete(self, numbers: Iterable[int]) -> Sequence[bool]:
        """Delete messages by sequence number; whether each one was there."""
        request = f"STREAM.MSG.DELETE.{self.subjects.stream}"
        calls = [self.call(request, {"seq": seq, "no_erase": True}) for seq in numbers]
        if not calls:
            return []
        return [b'"success":true' in answer for answer in await self.exchange.send(calls)]

    async def purge(self, subjects: bytes) -> int:
        """Delete all messages of these subjects; how many."""
        request = f"STREAM.PURGE.{self.subjects.stream}"
        answer = await self.api(request, {"filter": subjects.decode()})
        return int(answer.get("purged", 0))

    async def shorten(self, outcomes: Iterable[Outgoing]) -> None:
        """Keep outcomes no longer than others, now that their messages are surely gone.

        Those that are not as they were stored any more are left as they are.
        """
        again = [
            Outgoing(one.subject, one.headers + line(AGAIN, b"1"), one.body) for one in outcomes
        ]
        if again:
            with suppress(ChicoryError):  # what counts is stored
                await self.send(again)

    async def finish(self, found: Iterable[Thread]) -> None:
        """Remove the messages whose outcome is stored: who stored it may have died."""
        if over := [remnant for one in found if (remnant := one.remnant)]:
            await self.delete(over)

    def _reader(self) -> Reader | LeaderReader:
        stream = self.subjects.stream
        if self.address.replicas > 1:
            return LeaderReader(self.exchange, stream, self.call)
        return Reader(self.connection, self.exchange, stream, self._api)

    @property
    def max_size(self) -> int:
        """Bytes of a body that are surely taken, whatever becomes of it."""
        return max(0, self.connection.max_payload - RESERVE)

    def measure(self, requests: Iterable[Request], *, reserve: int = 0) -> int:
        """Bytes of the largest request.

        Raises where a message is larger than the server takes: it would end the connection.
        """
        limit = self.connection.max_payload
        largest = 0
        for request in requests:
            size = request.size
            largest = max(size, largest)
            if size <= limit - reserve:
                continue
            for message in request.messages if isinstance(request, Batch) else [request]:
                if message.size <= limit - reserve:
                    continue
                raise MessageTooLargeError(
                    f"a message of {len(message.body)} bytes is too large for {self.address}, "
                    f"which takes {limit}, of which {reserve} are kept in reserve: "
                    "raise max_payload on the server"
                )
        return largest

    def _check(self, error: Problem | None) -> None:
        if error is not None and error.err_code not in WRONG_SEQUENCE:
            raise translated(error, self.address)


def _api(address: Address) -> bytes:
    return f"$JS.{address.domain}.API".encode() if address.domain else b"$JS.API"


def clash(session: Session, what: str) -> ConfigurationError:
    """The error for something on the server that is not as this configuration has it."""
    return ConfigurationError(f"{session.address}, namespace {session.namespace!r}: {what}")
