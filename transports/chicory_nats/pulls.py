"""Asking consumers for messages, and what comes back."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from chicory_nats.denials import Denial
from chicory_nats.headers import status
from chicory_nats.lanes import Lane, Lanes
from chicory_nats.pull import Level, Pull, Raw
from chicory_nats.session import Session

_BEAT = b"100"
_PATIENCE = 5.0
SILENCE = 13.0
"""Seconds without a word after which a consumer that was asked is asked again."""


class Pulls:
    """Requests under way together, to consumers whose messages go to one caller.

    Attributes:
        pulls: one request for each level.
        heard_at: when all consumers had said, for the last time, that the requests wait there.
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
        self._beats: set[int] = set()
        self._generation = session.connection.generation
        self._denied: Denial | None = None
        self.heard_at = -math.inf

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
                self._beats.clear()
                async with asyncio.timeout(SILENCE):
                    await self._until(self._is_news)
                if self._broken:
                    return
                self.heard_at = time.monotonic()

    def _is_news(self) -> bool:
        """Whether a pull is over, or all consumers have said that they have it in mind."""
        return len(self._beats) >= len(self.pulls) or any(pull.over for pull in self.pulls)

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

    def deny(self, denial: Denial) -> bool:
        """Note that one of the requests, or its answer, is not permitted; whether it is."""
        pull = self._session.pull
        sent = [pull(one.level.consumer) for one in self.pulls if not one.over]
        heard = [] if self._lane is None else [self._lane.inbox + b".*"]
        if denial.subject not in (heard if denial.hears else sent):
            return False
        self._denied = denial
        self.wake()
        return True

    def check(self) -> None:
        """Raise where something was not permitted, and nothing came."""
        if self._denied is not None and not self.came:
            raise self._session.connection.denials.error(self._denied)

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
        if self._denied is not None:
            return True
        return not connection.is_up or connection.generation != self._generation

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition() and not self._broken:
            self._changed.clear()
            await self._changed.wait()

    def _receive(self, subject: bytes, reply: bytes, headers: bytes | None, body: bytes) -> None:
        if reply:
            self._take(subject, reply, headers, body)
        elif (number := int(subject.rpartition(b".")[2]) - self._first) >= 0:
            self._hear(number, headers)
        self._changed.set()

    def _hear(self, number: int, headers: bytes | None) -> None:
        """Take a word on one of the requests."""
        code = status(headers)
        if code == _BEAT:
            self._beats.add(number)
        elif code:
            self.pulls[number].end(code, headers)

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
