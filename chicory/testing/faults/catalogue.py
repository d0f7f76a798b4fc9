"""The faults that there are, and the schedule that a seed makes of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from typing import TypeAlias

from chicory.testing.faults.broker_faults import BrokerKilled, Harmed, PartKilled
from chicory.testing.faults.connection_faults import (
    Cut,
    Delayed,
    HalfOpen,
    Reset,
    Swallowed,
    Throttled,
    Torn,
)
from chicory.testing.faults.fault import Fault
from chicory.testing.faults.producer_faults import ProducerKilled
from chicory.testing.faults.stage import Death, Harm, Stage
from chicory.testing.faults.tap import STEPS
from chicory.testing.faults.worker_faults import (
    BlockedLoop,
    ClockStepped,
    DeadlyTask,
    Kill,
    KillAtStep,
    OutOfMemory,
    Zombie,
)

_OF_PROCESSES = (Kill, Zombie, BlockedLoop, OutOfMemory, DeadlyTask, ProducerKilled)
_OF_CONNECTIONS = (Cut, Torn, Reset, Swallowed, HalfOpen, Delayed, Throttled)

Maker: TypeAlias = Callable[[Random], Fault]


def _at_step(step: str, chance: Random) -> Fault:
    return KillAtStep(chance, step)


def _of_part(name: str, death: Death, chance: Random) -> Fault:
    return PartKilled(chance, name, death)


def _harmed(name: str, harm: Harm, chance: Random, *, wipes: bool) -> Fault:
    return Harmed(chance, name, harm, wipes=wipes)


def makers(stage: Stage, *, wipes: bool = False) -> Sequence[Maker]:
    """The faults that can be done on a stage; with ``wipes`` also those that destroy calls."""
    deaths, harms = stage.deaths(), stage.harms()
    found: list[Maker] = [*_OF_PROCESSES, *(partial(_at_step, step) for step in STEPS)]
    if stage.port is not None:
        found += [BrokerKilled, *_OF_CONNECTIONS]
    if stage.port is not None or deaths:  # it has a clock of its own
        found.append(ClockStepped)
    found += [partial(_of_part, name, death) for name, death in deaths.items()]
    found += [partial(_harmed, name, harm, wipes=False) for name, harm in harms.items()]
    if wipes:
        found += [partial(_harmed, name, harm, wipes=True) for name, harm in stage.wipes().items()]
    return found


def schedule(seed: int, found: Sequence[Maker], count: int) -> Sequence[Fault]:
    """That many faults, each kind as often as any other, in an order that the seed decides."""
    chance = Random(seed)
    chosen: list[Maker] = []
    while len(chosen) < count:
        chosen += chance.sample(found, len(found))
    return [make(Random(chance.randrange(2**64))) for make in chosen[:count]]
