"""A run: calls, workers and faults, until all calls have an outcome; then the verdict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import Random

import anyio
from anyio import create_task_group
from msgspec import Struct

from chicory import record
from chicory.errors import ChicoryError
from chicory.states import TaskState
from chicory.testing.faults.case import Terms
from chicory.testing.faults.catalogue import Fault, Maker, makers, schedule
from chicory.testing.faults.figures import Figures, measure
from chicory.testing.faults.ledger import Event
from chicory.testing.faults.scene import GLANCE, RunError, Scene
from chicory.testing.faults.stage import Stage
from chicory.testing.faults.verdict import Finding, Left, judge
from chicory.transport import DEFAULT_LEASE, Counts, Transport

AHEAD = 1500
"""Calls that wait, at most, while more are enqueued."""
TRICKLE = 5
"""Calls more, at each glance, while a fault lasts."""
QUEUE = "default"
PATIENCE = 120.0
"""Seconds, beyond some leases, for what must happen."""
_PAGE = 250
_STOPPING = 60.0


class Plan(Struct, frozen=True):
    """What a run does.

    Attributes:
        seed: decides about all chances.
        tasks: calls that are enqueued, beside those that faults enqueue.
        faults: how many.
        lease: seconds.
        workers, producers: processes.
        concurrency: calls that a worker runs at once.
        max_crashes: leases that may run out before a message is put aside.
        backend: the event loop: ``asyncio`` or ``trio``.
        wipes: also faults that destroy calls.
        only: names of faults, or parts of names; all where there are none.
    """

    seed: int
    tasks: int = 2000
    faults: int = 20
    lease: float = DEFAULT_LEASE
    workers: int = 3
    producers: int = 2
    concurrency: int = 16
    max_crashes: int = 3
    backend: str = "asyncio"
    wipes: bool = False
    only: tuple[str, ...] = ()


class Outcome(Struct, frozen=True):
    """What came of a run.

    Attributes:
        finding: the verdict.
        figures: what it amounted to.
        troubles: what else went wrong: a hang, a process that ended by itself.
        software: the broker's, with its version.
    """

    finding: Finding
    figures: Figures
    troubles: Sequence[str]
    software: str = ""

    @property
    def held(self) -> bool:
        """Whether all promises were held."""
        return not self.finding.breaches and not self.troubles


async def run(stage: Stage, folder: Path, plan: Plan) -> Outcome:
    """Do what a plan says on a stage; ``folder`` is for the ledger, and must be empty of one."""
    faults = schedule(plan.seed, _chosen(stage, plan), plan.faults)
    scene = Scene(stage, folder, plan.backend, plan.lease, _environment(plan))
    left = Left({})
    troubles: list[str] = []
    async with scene.opened():
        try:
            await _Course(scene, plan, faults).run()
        except* RunError as errors:
            troubles += [str(error) for error in _each(errors)]
        try:
            await scene.leave(
                _STOPPING
            )  # what still ran would come to an end while it is looked at
            left = await _look(scene)
        except (ChicoryError, RunError) as error:
            troubles.append(str(error))
        scene.catch_up()
    troubles += scene.failures
    terms = Terms(plan.lease, plan.max_crashes, stage.forgets_leases, stage.forgets)
    finding = judge(scene.entries, left, terms)
    figures = measure(scene.entries, plan.max_crashes)
    return Outcome(finding, figures, troubles, stage.software)


def _each(errors: BaseExceptionGroup[RunError]) -> Iterator[RunError]:
    for error in errors.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _each(error)
        else:
            yield error


def _environment(plan: Plan) -> Mapping[str, str]:
    return {
        "CHICORY_LEASE": str(plan.lease),
        "CHICORY_WORKER_CONCURRENCY": str(plan.concurrency),
        "CHICORY_WORKER_MAX_CRASHES": str(plan.max_crashes),
    }


def _chosen(stage: Stage, plan: Plan) -> Sequence[Maker]:
    found = makers(stage, wipes=plan.wipes)
    if not plan.only:
        return found
    names = {make: make(Random(0)).name for make in found}
    return [make for make, name in names.items() if any(part in name for part in plan.only)]


class _Course:
    """The producers' and the faults' progress, each of which waits for the other."""

    def __init__(self, scene: Scene, plan: Plan, faults: Sequence[Fault]) -> None:
        self._scene = scene
        self._plan = plan
        self._faults = faults
        self._done = self._extra = 0

    async def run(self) -> None:
        """From the first call to the end of the last one."""
        for _ in range(self._plan.workers):
            self._scene.start_worker()
        for number in range(self._plan.producers):
            self._scene.start_producer(f"{self._plan.seed}-{number}")
        await self._scene.until(
            lambda: len(self._scene.ready) >= self._plan.workers, PATIENCE, "workers do not start"
        )
        async with create_task_group() as group:
            group.start_soon(self._produce)
            await self._disturb()
        await self._drain()

    async def _produce(self) -> None:
        while self._scene.offered < self._plan.tasks or self._done < len(self._faults):
            self._scene.allow(min(self._limit(), len(self._scene.over) + AHEAD))
            if not self._scene.producers:
                raise RunError("the producers have ended by themselves: see processes.log")
            await anyio.sleep(GLANCE)
        self._scene.end_producers()
        await self._scene.until(lambda: not self._scene.producers, PATIENCE, "producers do not end")

    def _limit(self) -> int:
        """How many calls there may be by now: some are kept for each fault that is to come.

        A fault that lasts gets some more, for it may wait for what workers do.
        """
        share = (self._done + 1) / (len(self._faults) + 1)
        planned = int(self._plan.tasks * share)
        if self._scene.offered > planned + self._extra - TRICKLE and share < 1:
            self._extra += TRICKLE
        return planned + self._extra

    async def _disturb(self) -> None:
        slice_ = self._plan.tasks / (len(self._faults) + 1)
        for fault in self._faults:
            target = slice_ * (self._done + 0.5)
            await self._scene.until(
                lambda target=target: self._scene.offered >= target,
                PATIENCE + 4 * self._plan.lease,
                f"too little is done before: {fault.name}",
            )
            self._scene.enter(Event.FAULT, detail=fault.name)
            await fault.run(self._scene)
            self._done += 1

    async def _drain(self) -> None:
        with anyio.move_on_after(PATIENCE + 4 * self._plan.lease):
            while await _count(self._scene):  # noqa: ASYNC110  (of a broker, which tells nobody)
                await anyio.sleep(GLANCE)
            return
        raise RunError(f"the queue is not empty in the end: {await _count(self._scene)} messages")


async def _count(scene: Scene) -> int:
    counts = (await scene.app.broker.counts([QUEUE])).get(QUEUE, Counts())
    return counts.ready + counts.delayed + counts.leased


async def _look(scene: Scene) -> Left:
    """What the broker holds: of each call that the ledger knows."""
    scene.catch_up()
    transport = (await scene.app.broker_link.session()).transport
    keys = list({entry.key for entry in scene.entries if entry.key})
    outcomes: dict[str, TaskState] = {}
    for start in range(0, len(keys), _PAGE):
        page = keys[start : start + _PAGE]
        for key, standing in zip(page, await transport.look_up(page), strict=True):
            state = record.decode(standing.record).state if standing.record else None
            if state and state.final:
                outcomes[key] = state
    return Left(outcomes, await _letters(transport), await _count(scene))


async def _letters(transport: Transport) -> Sequence[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    last: str | None = None
    while page := await transport.dead_letters(after=last, limit=_PAGE):
        found += [(letter.task_id, letter.reason) for letter in page]
        last = page[-1].id
    return found
