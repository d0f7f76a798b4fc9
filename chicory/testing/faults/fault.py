"""A fault: what a run does to its surroundings, and when they are well again."""

from __future__ import annotations

from abc import ABC, abstractmethod
from random import Random

from chicory.testing.faults.scene import Scene

PATIENCE = 60.0
"""Seconds, beyond some leases, for what must happen."""


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


async def until_over(scene: Scene, task_id: str) -> None:
    """Wait until a call has come to its end."""
    limit = PATIENCE + 8 * scene.lease
    await scene.until(lambda: task_id in scene.over, limit, f"{task_id} comes to no end")


async def until_consumed(scene: Scene) -> None:
    """Wait until any call has come to its end."""
    before, limit = len(scene.over), PATIENCE + 2 * scene.lease
    await scene.until(lambda: len(scene.over) > before, limit, "nothing is consumed any more")
