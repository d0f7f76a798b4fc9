"""A run: every measurement of every variant, in rounds, so that the machine's moods even out."""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime

from msgspec import Struct, field

from benchmarks import quiet
from benchmarks.contender import find, takes_part
from benchmarks.job import CutShort, Figures
from benchmarks.machine import describe
from benchmarks.measure import MEASURES
from benchmarks.scale import Scale
from benchmarks.variant import CHICORY, LOOPS, Variant

_LONG = frozenset(
    {
        *("pair", "work", "endings", "loaded", "delay", "recovery"),
        *("processes", "scale", "soak", "imports"),
    }
)
"""Measurements that a rough picture has of one event loop only."""

_ONCE = frozenset({"soak", "imports"})
"""Measurements that one round is enough for: they take long, and hardly differ."""

METHOD = (
    "Each measurement runs in fresh processes on a fresh database in the temporary folder. A round "
    "measures all variants one after the other, each round begins with the next one. A figure is "
    "the median of its rounds; a ratio is the median of the ratios within each round. A percentile "
    "is told where the sample holds it: a p99 takes 100 calls, a p99.9 takes 1,000."
)


DOUBTS = (
    "No-ops show the queue's own cost and nothing else: real tasks run at the rate of their work.",
    "While others use the machine, rates are too low and spread: CPU time per task says more.",
    "Peers are given fewer tasks, and their clock runs from the first task to the last one.",
    "Where a producer, a worker and a server share two cores, each holds up the others.",
)


class Sample(Struct, frozen=True):
    """The figures of one measurement in one round.

    Attributes:
        round: from 0.
        measure: what was done.
        variant: by whom.
        figures: what came of it.
        others: the share of the processors that other people's processes took meanwhile.
        seconds: how long it took.
    """

    round: int
    measure: str
    variant: Variant
    figures: Figures
    others: float
    seconds: float


class Run(Struct, kw_only=True):
    """All that was measured, and on what."""

    method: str = METHOD
    doubts: tuple[str, ...] = DOUBTS
    begun: datetime
    scale: Scale
    machine: dict[str, str]
    versions: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
    failures: list[str] = field(default_factory=list[str])
    left_out: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    samples: list[Sample] = field(default_factory=list[Sample])

    def variants(self) -> list[Variant]:
        """Those that were measured, in the order of the first round."""
        return list(dict.fromkeys(sample.variant for sample in self.samples))

    def rounds(self) -> int:
        """How many have begun."""
        return 1 + max((sample.round for sample in self.samples), default=-1)

    def disturbances(self) -> list[float]:
        """What others took of the processors, measurement by measurement, least first."""
        return sorted(sample.others for sample in self.samples)

    def seconds(self, measure: str) -> float:
        """How long a measurement took by now, at worst; 0 where there is none yet."""
        return max((each.seconds for each in self.samples if each.measure == measure), default=0.0)

    def values(self, figure: str, variant: Variant) -> dict[int, float]:
        """A figure's value in each round."""
        return {
            sample.round: sample.figures[figure]
            for sample in self.samples
            if sample.variant == variant and figure in sample.figures
        }

    def median(self, figure: str, variant: Variant) -> float | None:
        """A figure's median; ``None`` where it was not measured."""
        values = self.values(figure, variant)
        return statistics.median(values.values()) if values else None

    def ratio(self, figure: str, variant: Variant, to: Variant) -> float | None:
        """The median of the ratios of two variants within the rounds."""
        mine, theirs = self.values(figure, variant), self.values(figure, to)
        ratios = [mine[turn] / theirs[turn] for turn in mine if theirs.get(turn)]
        return statistics.median(ratios) if ratios else None


def in_short(failure: str) -> str:
    """What failed, and the last that was said of it; the file has the rest."""
    lines = failure.strip().splitlines()
    return lines[0] if len(lines) == 1 else f"{lines[0]} {lines[-1]}"


def run(
    scale: Scale,
    variants: Sequence[Variant],
    only: Collection[str],
    tell: Callable[[str, Run], None],
    patience: float = 0.0,
) -> Run:
    """Measure; ``tell`` is called before each measurement, with what it is and what there is.

    ``patience`` is how many seconds each measurement waits for others to leave the machine.
    None is begun that would not be over within the budget, as far as those before it tell.
    Interrupted, it gives what there is by then.
    """
    end = time.monotonic() + scale.budget
    made = Run(
        begun=datetime.now(UTC),
        scale=scale,
        machine=describe(),
        versions={one.name: one.versions() for variant in variants if (one := find(variant))},
    )
    with suppress(KeyboardInterrupt):
        for turn, name, variant in _plan(scale, variants, only):
            if time.monotonic() + made.seconds(name) > end:
                made.left_out.setdefault(name, []).append(_whose(turn, variant))
                continue
            tell(f"{name} of {_whose(turn, variant)} of {scale.rounds}", made)
            quiet.wait(patience)
            try:
                _take(made, turn, name, variant)
            except (RuntimeError, subprocess.SubprocessError) as failure:
                made.failures.append(f"{name} of {_whose(turn, variant)}: {failure}")
    return made


def _plan(
    scale: Scale, variants: Sequence[Variant], only: Collection[str]
) -> Iterator[tuple[int, str, Variant]]:
    for turn in range(scale.rounds):
        first = turn % len(variants)
        for name in MEASURES:
            if name in only and not (name in _ONCE and turn):
                for variant in (*variants[first:], *variants[:first]):
                    if takes_part(variant, name) and not (scale.rough and _spared(variant, name)):
                        yield turn, name, variant


def _spared(variant: Variant, name: str) -> bool:
    return name in _LONG and variant.who == CHICORY and variant.loop != LOOPS[0]


def _take(made: Run, turn: int, name: str, variant: Variant) -> None:
    others, begin = quiet.Others(), time.monotonic()

    def keep(figures: Figures) -> None:
        seconds = time.monotonic() - begin
        made.samples.append(Sample(turn, name, variant, figures, others.share(), seconds))

    try:
        keep(MEASURES[name](variant, made.scale))
    except CutShort as cut:
        keep(cut.figures)
        raise


def _whose(turn: int, variant: Variant) -> str:
    return f"{variant.label} on {variant.broker}, round {turn + 1}"
