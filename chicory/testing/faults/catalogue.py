"""The faults of a run, and the schedule that a seed makes of them."""

from __future__ import annotations

import signal
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from math import inf
from random import Random
from typing import TypeAlias

import anyio
from anyio import to_thread

from chicory.testing.faults.kinds import Kind
from chicory.testing.faults.ledger import Event
from chicory.testing.faults.proxy import Proxy
from chicory.testing.faults.scene import Scene
from chicory.testing.faults.stage import Harm, Stage
from chicory.testing.faults.tap import STEPS

PATIENCE = 60.0
"""Seconds, beyond some leases, for what must happen."""
SKEW = 30.0
"""Seconds by which a clock is wrong. Retries that its worker asks for are late by as much."""


class Fault(ABC):
    """One fault; made for one run, with all its chances drawn before.

    Attributes:
        name: what it is called in figures.
    """

    name: str

    def __init__(self, chance: Random) -> None:
        self.chance = chance

    @abstractmethod
    async def run(self, scene: Scene) -> None:
        """Do it, and return when the surroundings are well again."""


# -- of workers ----------------------------------------------------------------------------------


class Kill(Fault):
    """A worker is killed at any moment, and another one started."""

    name = "worker killed"

    async def run(self, scene: Scene) -> None:
        scene.kill(scene.some_worker(self.chance))


class KillAtStep(Fault):
    """A worker is killed when it has come to a step of the protocol, or is in the middle of it."""

    def __init__(self, chance: Random, step: str) -> None:
        super().__init__(chance)
        self.name = f"worker killed when {step}"
        self._step = step
        seconds = chance.uniform(0.0002, 0.005) if step == "settling" else 0
        self._trap = f"{step}:{chance.randrange(1, 40)}:{seconds:.6f}"

    async def run(self, scene: Scene) -> None:
        doomed = scene.start_worker({"CHICORY_FAULTS_TRAP": self._trap}, spare=True)
        limit = PATIENCE + 2 * scene.lease
        await scene.until(lambda: not doomed.runs, limit, f"no worker came to: {self._step}")


class Zombie(Fault):
    """A worker stands still for longer than its leases last, and goes on."""

    name = "worker suspended past its lease"

    async def run(self, scene: Scene) -> None:
        worker = scene.some_worker(self.chance)
        await scene.stop(worker)
        await anyio.sleep(scene.lease * self.chance.uniform(1.2, 1.8))
        scene.resume(worker)


class BlockedLoop(Fault):
    """A task blocks its worker's event loop for longer than a lease lasts."""

    name = "event loop blocked past the lease"

    async def run(self, scene: Scene) -> None:
        task_id = await scene.begin(Kind.BLOCKING, scene.lease * 1.3)
        await _until_over(scene, task_id)


class OutOfMemory(Fault):
    """A task takes all the memory that its process may have, and is refused more."""

    name = "worker out of memory"

    async def run(self, scene: Scene) -> None:
        await _until_over(scene, await scene.begin(Kind.GREEDY))


class DeadlyTask(Fault):
    """A task kills every worker that runs it, until it is put aside."""

    name = "task that kills its workers"

    async def run(self, scene: Scene) -> None:
        await _until_over(scene, await scene.begin(Kind.DEADLY))


class ClockStepped(Fault):
    """A worker's clock is set ahead, or back, by more than a lease."""

    name = "worker's clock stepped"

    async def run(self, scene: Scene) -> None:
        step = self.chance.choice([SKEW, -SKEW])
        worker = scene.start_worker({"CHICORY_FAULTS_STEP": str(step)}, spare=True)
        await scene.until(lambda: worker.pid in scene.ready, PATIENCE, "a worker is not ready")
        worker.popen.send_signal(signal.SIGUSR1)
        await anyio.sleep(scene.lease)
        worker.popen.terminate()
        await scene.until(lambda: not worker.runs, PATIENCE, "a worker does not stop")


async def _until_over(scene: Scene, task_id: str) -> None:
    limit = PATIENCE + 8 * scene.lease
    await scene.until(lambda: task_id in scene.over, limit, f"{task_id} comes to no end")


# -- of the broker's process ---------------------------------------------------------------------


class BrokerKilled(Fault):
    """The broker is killed, and started again after a while."""

    name = "broker killed"

    def __init__(self, chance: Random) -> None:
        super().__init__(chance)
        self._seconds = chance.choice([0.0, chance.uniform(0, 1), chance.uniform(1, 3)])

    async def run(self, scene: Scene) -> None:
        async with scene.away("killed"):
            await to_thread.run_sync(scene.stage.kill)
            await anyio.sleep(self._seconds)
            await to_thread.run_sync(scene.stage.start)
        await _until_consumed(scene)


class Harmed(Fault):
    """An operator, or another program, does something to the broker that destroys no call."""

    def __init__(self, chance: Random, name: str, harm: Harm) -> None:
        super().__init__(chance)
        self.name = name
        self._harm = harm

    async def run(self, scene: Scene) -> None:
        async with scene.away():
            await self._harm()
        await _until_consumed(scene)


class Wiped(Fault):
    """An operator destroys calls: those that are gone are forgiven, all later ones must run."""

    def __init__(self, chance: Random, name: str, harm: Harm) -> None:
        super().__init__(chance)
        self.name = name
        self._harm = harm

    async def run(self, scene: Scene) -> None:
        async with scene.away():
            await self._harm()
            scene.enter(Event.WIPED)
        await _until_consumed(scene)


# -- of the connections --------------------------------------------------------------------------


class Cut(Fault):
    """All connections break."""

    name = "connections cut"

    async def run(self, scene: Scene) -> None:
        async with scene.away():
            _proxy(scene).cut()
        await _until_consumed(scene)


class Torn(Fault):
    """A connection breaks in the middle of an answer, some times in a row."""

    name = "connection reset within an answer"

    async def run(self, scene: Scene) -> None:
        for _ in range(5):
            async with scene.away():
                _proxy(scene).tear()
                await anyio.sleep(self.chance.uniform(0.02, 0.2))
        await _until_consumed(scene)


class Swallowed(Fault):
    """Answers get lost, each with its connection, after what was asked has been done."""

    name = "answers lost"

    async def run(self, scene: Scene) -> None:
        async with scene.away():
            _proxy(scene).lose(0.05, self.chance.randrange(2**32))
            await anyio.sleep(self.chance.uniform(0.3, 1))
            _proxy(scene).lose(0)
        await _until_consumed(scene)


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
        await _until_consumed(scene)


class Delayed(Fault):
    """The network is slow to pass things on."""

    name = "connections delayed"

    async def run(self, scene: Scene) -> None:
        _proxy(scene).delay(self.chance.uniform(0.02, 0.2))
        await anyio.sleep(scene.lease * 0.5)
        _proxy(scene).delay(0)
        await _until_consumed(scene)


class Throttled(Fault):
    """The network passes on little at a time."""

    name = "connections throttled"

    async def run(self, scene: Scene) -> None:
        _proxy(scene).throttle(self.chance.uniform(2e4, 2e5))
        await anyio.sleep(scene.lease * 0.5)
        _proxy(scene).throttle(inf)
        await _until_consumed(scene)


def _proxy(scene: Scene) -> Proxy:
    assert scene.proxy is not None
    return scene.proxy


async def _until_consumed(scene: Scene) -> None:
    before, limit = len(scene.over), PATIENCE + 2 * scene.lease
    await scene.until(lambda: len(scene.over) > before, limit, "nothing is consumed any more")


# -- the schedule --------------------------------------------------------------------------------

_OF_WORKERS = (Kill, Zombie, BlockedLoop, OutOfMemory, DeadlyTask)
_OF_SERVERS = (BrokerKilled, ClockStepped)
_OF_CONNECTIONS = (Cut, Torn, Swallowed, HalfOpen, Delayed, Throttled)

Maker: TypeAlias = Callable[[Random], Fault]


def _at_step(step: str, chance: Random) -> Fault:
    return KillAtStep(chance, step)


def _harmed(name: str, harm: Harm, chance: Random) -> Fault:
    return Harmed(chance, name, harm)


def _wiped(name: str, harm: Harm, chance: Random) -> Fault:
    return Wiped(chance, name, harm)


def makers(stage: Stage, *, wipes: bool = False) -> Sequence[Maker]:
    """The faults that can be done on a stage; with ``wipes`` also those that destroy calls."""
    found: list[Maker] = [*_OF_WORKERS, *(partial(_at_step, step) for step in STEPS)]
    if stage.port is not None:
        found += [*_OF_SERVERS, *_OF_CONNECTIONS]
    found += [partial(_harmed, name, harm) for name, harm in stage.harms().items()]
    if wipes:
        found += [partial(_wiped, name, harm) for name, harm in stage.wipes().items()]
    return found


def schedule(seed: int, found: Sequence[Maker], count: int) -> Sequence[Fault]:
    """That many faults, each kind as often as any other, in an order that the seed decides."""
    chance = Random(seed)
    chosen: list[Maker] = []
    while len(chosen) < count:
        chosen += chance.sample(found, len(found))
    return [make(Random(chance.randrange(2**64))) for make in chosen[:count]]
