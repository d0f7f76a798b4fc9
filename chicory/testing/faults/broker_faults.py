"""Faults of the broker, and what operators do to it."""

from __future__ import annotations

from random import Random

import anyio
from anyio import to_thread

from chicory.testing.faults.fault import Fault, until_consumed
from chicory.testing.faults.ledger import Event
from chicory.testing.faults.scene import Scene
from chicory.testing.faults.stage import Death, Harm
from chicory.testing.faults.troubles import KILLED


class BrokerKilled(Fault):
    """The broker is killed, and started again after a while."""

    name = "broker killed"

    def __init__(self, chance: Random) -> None:
        super().__init__(chance)
        self._seconds = chance.choice([0.0, chance.uniform(0, 1), chance.uniform(1, 3)])

    async def run(self, scene: Scene) -> None:
        async with scene.away(KILLED):
            await to_thread.run_sync(scene.stage.kill)
            await anyio.sleep(self._seconds)
            await to_thread.run_sync(scene.stage.start)
        await until_consumed(scene)


class PartKilled(Fault):
    """A part of the broker dies: consumption must go on without it, and once it is back."""

    def __init__(self, chance: Random, name: str, death: Death) -> None:
        super().__init__(chance)
        self.name = name
        self._death = death

    async def run(self, scene: Scene) -> None:
        async with scene.away(KILLED):
            await self._death.strike()
        await until_consumed(scene)
        await self._death.mend()
        await until_consumed(scene)


class Harmed(Fault):
    """An operator, or another program, does something to the broker.

    Where that ``wipes`` what the broker holds, the calls that are gone are forgiven; all later
    ones must run.
    """

    def __init__(self, chance: Random, name: str, harm: Harm, *, wipes: bool) -> None:
        super().__init__(chance)
        self.name = name
        self._harm = harm
        self._wipes = wipes

    async def run(self, scene: Scene) -> None:
        async with scene.away():
            await self._harm()
            if self._wipes:
                scene.enter(Event.WIPED)
        await until_consumed(scene)
