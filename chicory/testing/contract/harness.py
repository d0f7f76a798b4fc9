"""What the contract must be told about a transport, by the author of the transport."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self
from uuid import uuid4

from anyio import sleep
from anyio.lowlevel import checkpoint

from chicory.clock import Clock, SystemClock
from chicory.testing.clock import ManualClock
from chicory.transport import DEFAULT_LEASE, Transport, TransportSettings

_TURNS = 10
_IDLE_STEPS = 40
_IDLE_STEP = 0.01
_CALM = 3
_LONGEST = 100
"""Steps in which nothing was asked of the broker, and after which whoever still asks is polling."""


class Harness(ABC):
    """One test's broker, and the means to disturb it.

    A test makes one with ``async with`` in a fixture named ``harness``. An author sets ``url``
    and overrides ``make``, ``restart`` and ``round_trips``. Time stands still but for
    ``advance``; where the broker has a clock of its own, begin with ``RealTimeHarness``.

    Attributes:
        url: address of the broker.
        lease: seconds that a delivery is leased for.
        moment: seconds by which tests delay things; at most half of ``lease``.
        patience: real seconds after which a test that still waits has failed.
        reconnects: open connections find back to a broker that was restarted.
        clock: what ``settings`` hands to the transport.
        port: of the broker, where it is reached over TCP; it stands in ``url``. The contract then
            loses answers on the way.
    """

    url: str
    port: int | None = None
    lease: float = DEFAULT_LEASE
    moment: float = 1.0
    patience: float = 20.0
    reconnects: bool = False
    clock: Clock

    def __init__(self) -> None:
        self._manual = ManualClock()
        self.clock = self._manual
        self._namespace = uuid4().hex
        self._connections = AsyncExitStack()

    @abstractmethod
    def make(self, settings: TransportSettings) -> Transport:
        """An unopened transport."""

    @abstractmethod
    async def restart(self) -> None:
        """Kill the broker without a warning, and start it again.

        Where it lives in this process: drop all connections. The contract then makes new ones;
        it goes on with the old ones only where ``reconnects`` is set.
        """

    @abstractmethod
    def round_trips(self) -> int:
        """Requests that reached the broker so far, from all connections of this test."""

    def now(self) -> float:
        """The broker's time."""
        return self.clock.now()

    async def advance(self, seconds: float) -> None:
        """Let the broker's time pass; what came due by then can be fetched when this returns."""
        self._manual.advance(seconds)
        await checkpoint()

    async def idle(self) -> None:
        """Let a while pass in which nothing is due, for every clock that a poller may look at."""
        for _ in range(_IDLE_STEPS):
            self._manual.advance(self.moment / 2 / _IDLE_STEPS)
            await sleep(_IDLE_STEP)

    async def settle_down(self) -> None:
        """Wait until all that was begun has come to rest, or waits for something."""
        calm = 0
        for _ in range(_LONGEST):
            before = self.round_trips()
            for _ in range(_TURNS):
                await checkpoint()
            await sleep(_IDLE_STEP)
            calm = calm + 1 if self.round_trips() == before else 0
            if calm == _CALM:
                return

    def settings(self, namespace: str = "a", *, port: int | None = None) -> TransportSettings:
        """Settings for this broker; ``namespace`` is unique to this test whatever its name.

        ``port``: where to reach it instead.
        """
        return TransportSettings(
            url=self.url if port is None else self.url.replace(f":{self.port}", f":{port}"),
            namespace=f"{self._namespace}-{namespace}",
            lease=self.lease,
            clock=self.clock,
        )

    async def connect(self, namespace: str = "a") -> Transport:
        """One more connection to the broker, closed when the test is over."""
        return await self._connections.enter_async_context(self.make(self.settings(namespace)))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._connections.aclose()


class RealTimeHarness(Harness):
    """For a broker with a clock of its own on this machine: time passes, and tests sleep.

    Each test allows for time that passes in between; a broker must be slower than ``lease``
    by far before a test fails that should not.

    Attributes:
        lateness: real seconds by which the broker may be late to act on what came due.
    """

    lease = 2.0
    moment = 0.5
    lateness: float = 0.05

    def __init__(self) -> None:
        super().__init__()
        self.clock = SystemClock()

    async def advance(self, seconds: float) -> None:
        await sleep(seconds + self.lateness)
