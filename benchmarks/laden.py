"""Whether a broker that holds millions is as fast as an empty one, and what it takes to hold them.

Results are put in the way first, then delayed calls, then calls that wait: each is measured with
those before it.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial

from benchmarks.figure import LADEN
from benchmarks.job import BALLASTS, Ballast, CutShort, Figures
from benchmarks.scale import Scale
from benchmarks.site import Site, site
from benchmarks.variant import Variant
from benchmarks.weight import added

_ASIDE = "aside"
"""The queue of the calls that are timed: behind a million others none would be answered."""


def scale(variant: Variant, sizes: Scale) -> Figures:
    """The same on a laden broker and on an empty one, by turns, and the ratios."""
    found: Figures = {}
    with site(variant) as laden:
        for ballast in BALLASTS:
            try:
                found |= _beside(variant, laden, ballast, sizes)
            except KeyboardInterrupt:
                raise CutShort(found) from None
    return found


def _beside(variant: Variant, laden: Site, ballast: Ballast, sizes: Scale) -> Figures:
    before = laden.weight()
    laden.perform("lade", ballast=ballast, count=sizes.ballast)
    each = added(before, laden.weight(), sizes.ballast)
    found = {f"{name} per item, {ballast}": value for name, value in each.items()}
    return found | told(ballast, *_by_turns(variant, laden, sizes))


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
    variant: Variant, laden: Site, sizes: Scale
) -> tuple[Sequence[Figures], Sequence[Figures]]:
    found: Mapping[bool, list[Figures]] = {True: [], False: []}
    for turn in range(sizes.turns):
        for heavy in (True, False) if turn % 2 else (False, True):
            with ExitStack() as stack:
                where = laden if heavy else stack.enter_context(site(variant))
                found[heavy].append(_measured(where, sizes))
    return found[True], found[False]


def _measured(where: Site, sizes: Scale) -> Figures:
    sipped = where.perform("sip", count=sizes.sipped)
    enqueued = where.perform("add", count=sizes.enqueued // 4)
    echo = partial(where.echo, queue=_ASIDE, count=sizes.asked, seconds=sizes.asking)
    return {**sipped, **enqueued, **echo()}
