"""Faults of the connections between workers, producers and their broker."""

from __future__ import annotations

from abc import abstractmethod
from math import inf
from random import Random

import anyio

from chicory.testing.faults.fault import Fault, until_consumed
from chicory.testing.faults.proxy import Proxy
from chicory.testing.faults.scene import Scene


class Cut(Fault):
    """All connections break."""

    name = "connections cut"

    async def run(self, scene: Scene) -> None:
        async with scene.away():
            _proxy(scene).cut()
        await until_consumed(scene)


class Torn(Fault):
    """A connection is closed in the middle of an answer, some times in a row."""

    name = "connection closed within an answer"
    resets = False

    async def run(self, scene: Scene) -> None:
        for _ in range(5):
            async with scene.away():
                _proxy(scene).tear(reset=self.resets)
                await anyio.sleep(self.chance.uniform(0.02, 0.2))
        await until_consumed(scene)


class Reset(Torn):
    """A connection is reset in the middle of an answer, some times in a row."""

    name = "connection reset within an answer"
    resets = True


class Swallowed(Fault):
    """Answers get lost, each with its connection, after what was asked has been done."""

    name = "answers lost"

    async def run(self, scene: Scene) -> None:
        async with scene.away():
            _proxy(scene).lose(0.05, self.chance.randrange(2**32))
            await anyio.sleep(self.chance.uniform(0.3, 1))
            _proxy(scene).lose(0)
        await until_consumed(scene)


class HalfOpen(Fault):
    """Connections stay open and nothing comes through any more, either way; later they break."""

    name = "connections half-open"

    def __init__(self, chance: Random) -> None:
        super().__init__(chance)
        self._leases = chance.choice([0.3, 1.3])
        self._breaks = chance.random() < 0.5

    async def run(self, scene: Scene) -> None:
        async with scene.away():
            _proxy(scene).freeze()
            await anyio.sleep(scene.lease * self._leases)
            if self._breaks:
                _proxy(scene).cut()
            _proxy(scene).thaw()
        await until_consumed(scene)


class _Slowed(Fault):
    """The network is slow for half a lease."""

    async def run(self, scene: Scene) -> None:
        self._slow(_proxy(scene))
        await anyio.sleep(scene.lease * 0.5)
        _proxy(scene).delay(0)
        _proxy(scene).throttle(inf)
        await until_consumed(scene)

    @abstractmethod
    def _slow(self, proxy: Proxy) -> None:
        """Make it slow."""


class Delayed(_Slowed):
    """The network is slow to pass things on."""

    name = "connections delayed"

    def _slow(self, proxy: Proxy) -> None:
        proxy.delay(self.chance.uniform(0.02, 0.2))


class Throttled(_Slowed):
    """The network passes on little at a time."""

    name = "connections throttled"

    def _slow(self, proxy: Proxy) -> None:
        proxy.throttle(self.chance.uniform(2e4, 2e5))


def _proxy(scene: Scene) -> Proxy:
    assert scene.proxy is not None
    return scene.proxy
