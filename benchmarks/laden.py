"""Whether a broker that holds millions is as fast as an empty one, and what it takes to hold them.

Results are put in the way first, then delayed calls, then calls that wait: each is measured with
those before it.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from benchmarks import place, process
from benchmarks.figure import LADEN
from benchmarks.job import BALLASTS, Ballast, Figures, Job
from benchmarks.scale import Scale
from benchmarks.server import Place
from benchmarks.variant import Variant
from benchmarks.weight import added, weight

_ASIDE = "aside"
"""The queue of the calls that are timed: behind a million others none would be answered."""


def scale(variant: Variant, sizes: Scale) -> Figures:
    """The same on a laden broker and on an empty one, by turns, and the ratios."""
    if variant.broker == "memory":
        return {}
    found: Figures = {}
    with place.fresh(variant.broker) as laden:
        for ballast in BALLASTS:
            before = weight(laden)
            lade = Job(
                errand="lade",
                url=laden.url,
                loop=variant.loop,
                ballast=ballast,
                count=sizes.ballast,
            )
            process.run(lade)
            each = added(before, weight(laden), sizes.ballast)
            found |= {f"{name} per item, {ballast}": value for name, value in each.items()}
            found |= told(ballast, *_by_turns(variant, laden, sizes))
    return found


def told(ballast: Ballast, laden: Sequence[Figures], empty: Sequence[Figures]) -> Figures:
    """Of two sequences of figures, taken by turns: the medians, and the median of the ratios."""
    found = {
        f"{name} {place}, {ballast}": statistics.median(one[name] for one in figures if name in one)
        for place, figures in (("laden", laden), ("empty", empty))
        for name in figures[0]
    }
    for name in LADEN:
        pairs = zip(laden, empty, strict=True)
        ratios = [
            this[name] / that[name] for this, that in pairs if name in this and that.get(name)
        ]
        if ratios:
            found[f"{name} with {ballast}"] = statistics.median(ratios)
    return found


def _by_turns(
    variant: Variant, laden: Place, sizes: Scale
) -> tuple[Sequence[Figures], Sequence[Figures]]:
    found: Mapping[bool, list[Figures]] = {True: [], False: []}
    for turn in range(sizes.turns):
        for heavy in (True, False) if turn % 2 else (False, True):
            if heavy:
                found[heavy].append(_measured(variant, laden, sizes))
            else:
                with place.fresh(variant.broker) as empty:
                    found[heavy].append(_measured(variant, empty, sizes))
    return found[True], found[False]


def _measured(variant: Variant, where: Place, sizes: Scale) -> Figures:
    job: Callable[..., Job] = partial(Job, url=where.url, server=where.server, loop=variant.loop)
    sipped = process.run(job(errand="sip", count=sizes.sipped))
    enqueued = process.run(job(errand="enqueue", count=sizes.enqueued // 4))
    with process.served(job(errand="serve", queue=_ASIDE)):
        echo = job(errand="echo", queue=_ASIDE, count=sizes.asked, seconds=sizes.asking)
        return {**sipped, **enqueued, **process.run(echo)}
