"""Reading what the stream holds, many messages for one request."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from chicory.errors import BrokerConnectionError
from chicory_nats.clock import moment
from chicory_nats.connection import TIMEOUT, Connection
from chicory_nats.denials import Denial
from chicory_nats.exchange import Exchange
from chicory_nats.headers import parse, status
from chicory_nats.wire import Outgoing, decode_any, publish

_SUBJECTS = 128
"""Asked for at once: the server answers with 1024 messages at most, a thread has up to eight."""
_PAGE = 200
_PAGE_BYTES = 8 << 20
_PATIENCE = 3.0
_PAUSE = 0.05
_MISSED = 2.0
"""Seconds after which it is looked whether the stream is there at all."""
_PAGES = (2, 12, 2)
"""The first server that takes no harm from being asked for a page while something is stored.

Those before it come to a standstill: https://github.com/nats-io/nats-server/pull/7458.
"""


class Stored(Struct, frozen=True):
    """A message of the stream."""

    subject: bytes
    seq: int
    headers: dict[bytes, bytes]
    body: bytes

    @property
    def stored_at(self) -> float:
        """When, by the server's clock; seconds since the epoch."""
        return moment(self.headers.get(b"Nats-Time-Stamp", b"").decode())


class Page(Struct, frozen=True):
    """Messages, and how many more there may be behind them."""

    messages: Sequence[Stored]
    more: int


class Reader:
    """Reads from the stream; sends a request again where it was not answered.

    Attributes:
        at_once: whether all of a thread is read at one moment.
    """

    at_once = True

    def __init__(self, connection: Connection, exchange: Exchange, stream: str, api: bytes) -> None:
        self._connection = connection
        self._exchange = exchange
        self._subject = b"%b.DIRECT.GET.%b" % (api, stream.encode())
        self._info = b"%b.STREAM.INFO.%b" % (api, stream.encode())
        self._answers: set[_Answer] = set()
        connection.on_down(self._give_up)
        connection.denials.on(self._deny)

    async def reach(self, _seq: int) -> str:
        """Wait for nothing: the server that delivers a message has stored it."""
        return ""

    async def last(self, subjects: Sequence[bytes]) -> Sequence[Stored]:
        """The last message of each subject that matches one of these."""
        parts = [subjects[i : i + _SUBJECTS] for i in range(0, len(subjects), _SUBJECTS)]
        return [message for part in parts for message in await self._last(part)]

    async def _last(self, subjects: Sequence[bytes]) -> Sequence[Stored]:
        """Read in the order stored, in pieces where it is much: what changes meanwhile comes later.

        So a subject may be there twice, and the later message is the last one.
        """
        wanted = {"multi_last": [one.decode() for one in subjects], "batch": 1024}
        page = await self._get({**wanted, "max_bytes": self._bytes})
        found = list(page.messages)
        while page.more and page.messages:
            first = page.messages[-1].seq + 1
            page = await self._get({**wanted, "max_bytes": self._bytes, "seq": first})
            found += page.messages
        return found

    @property
    def _bytes(self) -> int:
        """What one answer may have: the server ends a connection that is too slow for it."""
        return max(_PAGE_BYTES, 2 * self._connection.max_payload)

    async def page(self, subjects: bytes, first: int = 1, limit: int = _PAGE) -> Page:
        """Messages from a sequence number on, the oldest first."""
        if self._connection.version < _PAGES:
            return await self._one_by_one(subjects, first, limit)
        request = {
            "seq": first,
            "next_by_subj": subjects.decode(),
            "batch": limit,
            "max_bytes": self._bytes,
        }
        return await self._get(request)

    async def hold(self, wanted: Sequence[tuple[bytes, int]]) -> Sequence[bool]:
        """Whether there are messages; ``wanted``: subjects, and the first sequence number."""
        requests = [{"seq": first, "next_by_subj": one.decode()} for one, first in wanted]
        return [bool(page.messages) for page in await self._get_all(requests, alone=True)]

    async def scan(self, subjects: bytes, first: int = 1) -> AsyncIterator[Stored]:
        """All messages from a sequence number on, the oldest first."""
        while True:
            page = await self.page(subjects, first)
            for message in page.messages:
                yield message
            if not page.messages or not page.more:
                return
            first = page.messages[-1].seq + 1

    async def count(self, subjects: bytes) -> int:
        """How many messages there are."""
        if self._connection.version < _PAGES:
            return await count_named(self._exchange, self._info, subjects)
        page = await self.page(subjects, limit=1)
        return len(page.messages) + page.more

    async def _one_by_one(self, subjects: bytes, first: int, limit: int) -> Page:
        messages: list[Stored] = []
        while len(messages) < limit:
            request = {"seq": first, "next_by_subj": subjects.decode()}
            found = (await self._get(request, alone=True)).messages
            if not found:
                return Page(messages, 0)
            messages += found
            first = messages[-1].seq + 1
        return Page(messages, 1)

    async def _get(self, request: dict[str, Any], *, alone: bool = False) -> Page:
        (page,) = await self._get_all([request], alone=alone)
        return page

    async def _get_all(self, requests: Sequence[dict[str, Any]], *, alone: bool) -> Sequence[Page]:
        """Ask until all are answered; ``alone``: for one message each, without how many follow.

        Those are what it costs the server to count.
        """
        end = time.monotonic() + TIMEOUT
        pages: dict[int, Page] = {}
        while len(pages) < len(requests):
            await self._connection.wait()
            answers = {i: _Answer(alone) for i in range(len(requests)) if i not in pages}
            begun = time.monotonic()
            done = await self._ask([requests[i] for i in answers], list(answers.values()))
            pages.update({i: answer.page() for i, answer in answers.items() if answer.complete})
            if len(pages) == len(requests):
                break
            if not done and time.monotonic() > end:
                self._connection.doubt(begun)
                raise self._connection.unreachable()
            self._connection.check()
            await asyncio.sleep(_PAUSE)
            if done and time.monotonic() > end - TIMEOUT + _MISSED:
                self._connection.miss()
            if time.monotonic() > end:
                raise self._connection.unreachable()
        return [pages[i] for i in range(len(requests))]

    async def _ask(self, requests: Sequence[dict[str, Any]], answers: Sequence[_Answer]) -> bool:
        """Ask once; whether all was answered, be it that nobody is there to answer."""
        inboxes = [self._exchange.listen(answer.receive) for answer in answers]
        self._answers.update(answers)
        commands = [
            publish(Outgoing(self._subject, b"", msgspec.json.encode(request)), inbox)
            for request, inbox in zip(requests, inboxes, strict=True)
        ]
        try:
            await self._connection.write(b"".join(commands))
            async with asyncio.timeout(_PATIENCE):
                for answer in answers:
                    await answer.over
        except TimeoutError:
            return False
        finally:
            for inbox in inboxes:
                self._exchange.hush(inbox)
            self._answers.difference_update(answers)
        return True

    def _deny(self, denial: Denial) -> bool:
        subject = self._exchange.inbox + b".>" if denial.hears else self._subject
        refused = self._answers if denial.subject == subject else ()
        for answer in refused:
            answer.fail(self._connection.denials.error(denial))
        return bool(refused)

    def _give_up(self) -> None:
        for answer in self._answers:
            answer.give_up()


async def count_named(exchange: Exchange, info: bytes, subjects: bytes) -> int:
    """How many messages there are, by the names of their subjects, which all cross the network.

    ``info``: where to ask for what a stream holds, which tells of so many subjects at once.
    """
    number = seen = 0
    while True:
        request = {"subjects_filter": subjects.decode(), "offset": seen}
        answer = decode_any(await exchange.ask(Outgoing(info, b"", msgspec.json.encode(request))))
        found: dict[str, int] = answer.get("state", {}).get("subjects") or {}
        number += sum(found.values())
        seen += len(found)
        if not found or seen >= answer.get("total", 0):
            return number


class _Answer:
    def __init__(self, alone: bool) -> None:
        self._alone = alone
        self.messages: list[Stored] = []
        self.more = 0
        self.over: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def receive(self, _subject: bytes, _reply: bytes, headers: bytes | None, body: bytes) -> None:
        code = status(headers)
        fields = parse(headers)
        if not code:
            self.messages.append(
                Stored(fields[b"Nats-Subject"], int(fields[b"Nats-Sequence"]), fields, body)
            )
            if self._alone and not self.over.done():
                self.over.set_result(True)
        elif not self.over.done():
            if code in {b"204", b"404"}:
                self.more = int(fields.get(b"Nats-Num-Pending", b"0"))
                self.over.set_result(True)
            elif code == b"503":
                self.give_up()
            else:
                text = (headers or b"").partition(b"\r\n")[0].decode(errors="replace")
                self.over.set_exception(BrokerConnectionError(f"the stream cannot be read: {text}"))

    def fail(self, error: Exception) -> None:
        if not self.over.done():
            self.over.set_exception(error)
            self.over.exception()  # taken note of: another one may be waited for

    def give_up(self) -> None:
        if not self.over.done():
            self.over.set_result(False)

    @property
    def complete(self) -> bool:
        return self.over.done() and not self.over.cancelled() and self.over.result()

    def page(self) -> Page:
        return Page(self.messages, self.more)
