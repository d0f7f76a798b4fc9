"""Faults of producers."""

from __future__ import annotations

from random import Random

from chicory.testing.faults.fault import PATIENCE, Fault
from chicory.testing.faults.scene import Scene
from chicory.testing.faults.tap import ENQUEUEING


class ProducerKilled(Fault):
    """A producer is killed while it enqueues: what it asked for is there, or not, or in part."""

    name = "producer killed"

    def __init__(self, chance: Random) -> None:
        super().__init__(chance)
        seconds = chance.choice([0, chance.uniform(0.0002, 0.01)])
        self._trap = f"{ENQUEUEING}:{chance.randrange(1, 8)}:{seconds:.6f}"
        self._seed = f"doomed {chance.randrange(2**32)}"

    async def run(self, scene: Scene) -> None:
        doomed = scene.start_producer(self._seed, {"CHICORY_FAULTS_TRAP": self._trap})
        limit = PATIENCE + 2 * scene.lease
        await scene.until(lambda: not doomed.runs, limit, "no producer enqueues")
