"""A broker behind a cable that a test can pull, pinch and look at."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Self

from chicory.clock import SystemClock
from chicory.errors import BrokerConnectionError, ChicoryError
from chicory.signal import Signal
from chicory.testing.memory import MemoryTransport

VERBS = (
    "open",
    "fetch",
    "renew",
    "settle",
    "publish",
    "store",
    "watch",
    "beat",
    "counts",
    "ping",
    "close",
)


class Cable:
    """Shared by all connections of one app.

    Attributes:
        down: verbs that get no answer, at once.
        deaf: verbs whose answer is lost: they are carried out all the same.
        stuck: verbs that wait until they are cancelled or freed.
        late: verbs that are carried out, and whose answers wait until they are freed.
        refused: verbs that are refused for good, and the error.
        closed_to: threads, by name, that get no connection.
        calls: how often each verb was called.
        vouches: what its transports say of the fetches that wait.
    """

    def __init__(self) -> None:
        self.down: set[str] = set()
        self.deaf: set[str] = set()
        self.stuck: set[str] = set()
        self.late: set[str] = set()
        self.refused: dict[str, Exception] = {}
        self.closed_to: set[str] = set()
        self.calls: Counter[str] = Counter()
        self.vouches = False
        self.pulled = False
        self.connections: list[CabledTransport] = []
        self._signal = Signal(SystemClock())

    def pull(self) -> None:
        self.pulled = True
        self.down.update(VERBS)
        for connection in self.connections:  # also a fetch that waits has its connection cut
            connection._news.notify()

    def mend(self) -> None:
        self.pulled = False
        for broken in (self.down, self.deaf, self.stuck, self.late, self.closed_to):
            broken.clear()
        self.refused.clear()
        self._signal.notify()

    async def called(self, verb: str, times: int) -> None:
        """Wait until a verb was called that often in all."""
        while True:
            seen = self._signal.version
            if self.calls[verb] >= times:
                return
            await self._signal.wait(seen)

    async def enter(self, verb: str) -> None:
        self.calls[verb] += 1
        self._signal.notify()
        if verb in self.down:
            raise BrokerConnectionError("the cable is pulled")
        if verb in self.refused:
            raise self.refused[verb]
        if verb == "open" and threading.current_thread().name in self.closed_to:
            raise BrokerConnectionError("too many connections")
        await self._freed(verb, self.stuck)

    async def leave(self, verb: str) -> None:
        if verb in self.deaf:
            raise BrokerConnectionError("the answer is lost")
        await self._freed(verb, self.late)

    async def _freed(self, verb: str, held: set[str]) -> None:
        while True:
            seen = self._signal.version
            if verb not in held:
                return
            await self._signal.wait(seen)


class CabledTransport(MemoryTransport):
    cable: Cable

    @classmethod
    def over(cls, template: MemoryTransport, cable: Cable) -> Self:
        cabled = cls(template._settings, template._store)
        cabled.cable = cable
        cable.connections.append(cabled)
        return cabled

    def clone(self) -> Self:
        return self.over(self, self.cable)

    def vouches(self) -> bool:
        self.cable.calls["vouches"] += 1
        self.cable._signal.notify()
        return self.cable.vouches

    def _enter(self):
        if self.cable.pulled:
            raise BrokerConnectionError("the cable is pulled")
        return super()._enter()


def _cabled(verb: str):
    bare = getattr(MemoryTransport, verb)

    async def call(self, *arguments, **options):
        await self.cable.enter(verb)
        answer = await bare(self, *arguments, **options)
        await self.cable.leave(verb)
        return answer

    return call


for _verb in VERBS:
    setattr(CabledTransport, _verb, _cabled(_verb))


class RefusalError(ChicoryError):
    """What a broker says that will never take something."""
