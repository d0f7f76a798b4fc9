"""Faults of workers."""

from __future__ import annotations

import signal
from random import Random

import anyio

from chicory.testing.faults.fault import PATIENCE, Fault, until_over
from chicory.testing.faults.kinds import Kind
from chicory.testing.faults.scene import Scene

SKEW = 30.0
"""Seconds by which a clock is wrong. Retries that its worker asks for are late by as much."""


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
        await until_over(scene, task_id)


class OutOfMemory(Fault):
    """A task takes all the memory that its process may have, and is refused more."""

    name = "worker out of memory"

    async def run(self, scene: Scene) -> None:
        await until_over(scene, await scene.begin(Kind.GREEDY))


class DeadlyTask(Fault):
    """A task kills every worker that runs it, until it is put aside."""

    name = "task that kills its workers"

    async def run(self, scene: Scene) -> None:
        await until_over(scene, await scene.begin(Kind.DEADLY))


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
