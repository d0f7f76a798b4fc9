"""What was found, as tables for people and as a file for machines."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

from msgspec import json
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks.figure import FIGURES, LOOP_AIM, Figure
from benchmarks.run import Run, in_short
from benchmarks.variant import BROKERS, Loop, Variant

_RESULTS = Path(__file__).parent / "results"


def save(run: Run) -> Path:
    """Write the run to ``benchmarks/results/``."""
    _RESULTS.mkdir(exist_ok=True)
    path = _RESULTS / f"{run.begun:%Y%m%d-%H%M%S}.json"
    path.write_bytes(json.format(json.encode(run)) + b"\n")
    return path


def show(run: Run, loops: Sequence[Loop], console: Console) -> None:
    """Print a table for each broker."""
    for broker in BROKERS:
        variants = [Variant(broker, loop) for loop in loops]
        table = Table(broker, *loops, box=None, pad_edge=False)
        for variant in variants[1:]:
            table.add_column(f"{variant.loop}/{loops[0]}", justify="right")
        table.add_column("aim")
        for column in table.columns[1:]:
            column.justify = "right"
        for figure in FIGURES:
            if any(run.values(figure.name, variant) for variant in variants):
                table.add_row(*_row(run, figure, variants))
        if table.rows:
            console.print(table)
    console.print(f"Medians of {run.rounds()} rounds, in [] the least and the most.")
    remarks(run, console)


def remarks(run: Run, console: Console) -> None:
    """Print what a reader must know: how, with what doubts, what failed, on what machine."""
    console.print(escape(run.method))
    console.print("Doubts:", *run.doubts)
    others = run.disturbances()
    if others:
        console.print(
            f"While one was measured, others took {statistics.median(others):.0%} of the "
            f"processors, at worst {others[-1]:.0%}."
        )
    if run.left_out:
        left_out = (f"{name} ({len(whose)})" for name, whose in run.left_out.items())
        console.print("Left out, as the time was up:", ", ".join(left_out))
    for failure in run.failures:
        console.print(f"[red]failed:[/] {escape(in_short(failure))}")
    console.print(", ".join(f"{key} {value}" for key, value in run.machine.items()))


def _row(run: Run, figure: Figure, variants: Sequence[Variant]) -> list[str]:
    aim = figure.aims.get(variants[0].broker)
    values = [_value(run, figure, variant) for variant in variants]
    ratios = [_ratio(run, figure, variant, variants[0]) for variant in variants[1:]]
    return [f"{figure.name}, {figure.unit}", *values, *ratios, str(aim or "")]


def _value(run: Run, figure: Figure, variant: Variant) -> str:
    value = run.median(figure.name, variant)
    if value is None:
        return ""
    text = figure.text(value)
    aim = figure.aims.get(variant.broker)
    if aim is not None:
        text = f"[{'green' if aim.reached_by(value) else 'red'}]{text}[/]"
    values = run.values(figure.name, variant).values()
    if len(values) == 1:
        return text
    return f"{text} \\[{figure.text(min(values))}..{figure.text(max(values))}]"


def _ratio(run: Run, figure: Figure, variant: Variant, to: Variant) -> str:
    ratio = run.ratio(figure.name, variant, to) if figure.compared else None
    if ratio is None:
        return ""
    if variant.loop != "trio" or figure.name != "drain":
        return f"{ratio:.2f}"
    return f"[{'green' if LOOP_AIM.reached_by(ratio) else 'red'}]{ratio:.2f}[/]"
