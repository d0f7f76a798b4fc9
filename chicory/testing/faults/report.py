"""What is said of a run."""

from __future__ import annotations

from collections.abc import Iterator

from chicory.testing.faults.case import Broken
from chicory.testing.faults.figures import share_of
from chicory.testing.faults.run import Outcome

SHOWN = 20
"""Breaches that are told one by one."""


def lines(outcome: Outcome) -> Iterator[str]:
    """The figures and the verdict, for people."""
    figures, finding = outcome.figures, outcome.finding
    if outcome.software:
        yield f"on {outcome.software}"
    yield (
        f"{figures.accepted} calls accepted, {figures.begun} executions, "
        f"{sum(figures.faults.values())} faults, {figures.deaths} deaths, "
        f"{figures.stalls} stalls of {figures.longest_stall:.1f} s at most, {figures.seconds:.0f} s"
    )
    for name, count in sorted(figures.faults.items()):
        yield f"  {count:4d} x {name}"
    yield (
        f"lost: {finding.counted(Broken.LOST)}   "
        f"two outcomes: {finding.counted(Broken.OUTCOMES)}   "
        f"executions repeated for a reason: {finding.excused}, without: "
        f"{finding.counted(Broken.REPEATED)}   destroyed by an operator: {finding.forgiven}   "
        f"forgotten by a broker that died: {finding.forgotten}"
    )
    if figures.calm:
        p50, p99 = figures.rescued_within(0.5), figures.rescued_within(0.99)
        yield (
            f"rescued after a kill: {len(figures.calm)} calls, p50 {p50:.1f} s, p99 {p99:.1f} s, "
            f"max {max(figures.calm):.1f} s"
        )
        rest = len(figures.rescues) - len(figures.calm) - len(figures.suspects)
        yield (
            f"beside them {rest} while the broker was away or no worker was there, or that one "
            f"more died with unseen, and {len(figures.suspects)} suspects, which run alone: "
            f"p99 {share_of(figures.suspects, 0.99):.1f} s, "
            f"max {max(figures.suspects, default=0):.1f} s"
        )
    if figures.recoveries:
        yield (
            f"consumption after the broker came back: {len(figures.recoveries)} times, "
            f"max {max(figures.recoveries):.2f} s"
        )
    for trouble in outcome.troubles:
        yield f"TROUBLE {trouble}"
    for breach in finding.breaches[:SHOWN]:
        yield f"BREACH {breach}"
    if len(finding.breaches) > SHOWN:
        yield f"... and {len(finding.breaches) - SHOWN} more"
