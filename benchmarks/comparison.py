"""chicory beside the others: a table for each figure, a row for each of them."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from benchmarks.figure import FIGURES, Figure
from benchmarks.report import remarks
from benchmarks.run import Run
from benchmarks.variant import BROKERS, CHICORY, Variant


def show(run: Run, console: Console) -> None:
    """Print all that was measured."""
    for broker in BROKERS:
        variants = [variant for variant in run.variants() if variant.broker == broker]
        for figure in FIGURES:
            measured = [variant for variant in variants if run.values(figure.name, variant)]
            if measured:
                console.print(table(run, figure, measured), "")
    console.print(
        f"Medians of {run.rounds()} rounds, in [] the least and the most. A ratio is chicory's "
        "figure, on that loop, to theirs: the median of the ratios of the rounds."
    )
    remarks(run, console)


def table(run: Run, figure: Figure, variants: Sequence[Variant]) -> Table:
    """One figure of some variants of one broker."""
    ours = [variant for variant in variants if variant.who == CHICORY]
    made = Table(f"{variants[0].broker}: {figure.name}, {figure.unit}", box=None, pad_edge=False)
    for heading in ("", "", *(f"{variant.loop}/it" for variant in ours)):
        made.add_column(heading, justify="right", no_wrap=True)
    for variant in variants:
        made.add_row(*_row(run, figure, variant, ours))
    return made


def _row(run: Run, figure: Figure, variant: Variant, ours: Sequence[Variant]) -> list[str]:
    values = run.values(figure.name, variant).values()
    ratios = [run.ratio(figure.name, one, variant) for one in ours]
    return [
        variant.label,
        figure.text(run.median(figure.name, variant) or 0.0),
        f"\\[{figure.text(min(values))}..{figure.text(max(values))}]",
        *("" if ratio is None else f"{ratio:,.2f}" for ratio in ratios),
    ]
