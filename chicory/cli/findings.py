"""What ``chicory demo`` found and measured, printed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from shlex import quote

from rich.console import Console
from rich.table import Table

from chicory.cli.output import print_whole
from chicory.demo.source import Function
from chicory.demo.tasks import DATABASE, LOST
from chicory.demo.tour import Tour, percentile
from chicory.masking import mask

TOP = 5


def print_findings(out: Console, taken: Tour) -> None:
    """What the tasks found in the library."""
    reports = taken.reports
    out.print(
        f"\n[bold]Found[/]: {sum(r.lines for r in reports):,} lines, "
        f"{sum(r.functions for r in reports):,} functions, "
        f"{sum(r.classes for r in reports):,} classes, "
        f"{sum(r.marks for r in reports):,} comments that say TODO, FIXME or XXX; "
        f"{sum(r.syntax_error is not None for r in reports)} files that are no Python, on purpose"
    )
    longest = [(f.lines, _place(path, f)) for path, f in taken.ranked(lambda f: f.lines, TOP)]
    busiest = [(f.branches, _place(path, f)) for path, f in taken.ranked(lambda f: f.branches, TOP)]
    imported = [(number, name) for name, number in taken.imports(TOP)]
    _print_ranking(out, "Longest functions, lines", longest)
    _print_ranking(out, "Functions that branch most, branches", busiest)
    _print_ranking(out, "Imported by most files, files", imported)


def _print_ranking(out: Console, heading: str, ranking: Sequence[tuple[int, str]]) -> None:
    out.print(f"\n[bold]{heading}[/]")
    for number, name in ranking:
        out.print(f"  {number:6,}  {name}", markup=False)


def _place(path: str, function: Function) -> str:
    return f"{function.name} ({Path(path).name}:{function.line})"


def print_figures(out: Console, taken: Tour) -> None:
    """How fast they were, and what went wrong on the way."""
    table = Table.grid(padding=(0, 2))
    busy, idle = taken.latencies, taken.idle_latencies
    table.add_row("  calls", f"{taken.calls:,} in {taken.seconds:.1f} s")
    table.add_row("  tasks/s", f"{taken.calls / taken.seconds:,.0f} (parsing is the work)")
    table.add_row("  enqueued/s", f"{taken.calls / taken.enqueuing:,.0f}")
    table.add_row("  latency, full queue", _latency(busy))
    table.add_row("  latency, idle", f"{_latency(idle)}, enqueue to result, {len(idle)} calls")
    table.add_row("  retries", f"{taken.retries} (made up, so that there are some)")
    table.add_row("  dead letters", str(len(taken.dead)))
    for letter in taken.dead:
        table.add_row("", letter.message_id)
        table.add_row("", letter.error)
    out.print("\n[bold]How it ran[/]")
    print_whole(table)


def _latency(values: list[float]) -> str:
    p50, p99 = percentile(values, 0.5) * 1000, percentile(values, 0.99) * 1000
    return f"p50 {p50:,.1f} ms, p99 {p99:,.1f} ms"


def _export(broker: str) -> str:
    """The command that has the next ones use this broker; its login is not shown."""
    shown = mask(broker)
    if shown == broker:
        return f"export CHICORY_BROKER_URL={quote(broker)}"
    blank = shown.replace("***", "LOGIN")
    return f"export CHICORY_BROKER_URL={quote(blank)}  # with yours for LOGIN: it is not shown"


def print_next(out: Console, taken: Tour, broker: str) -> None:
    """Commands that look at what is left, and mend it."""
    run = "uv run chicory" if "UV_RUN_RECURSION_DEPTH" in os.environ else "chicory"
    steps = [
        ("what the queues hold", f"{run} queues chicory.demo"),
        ("the dead letter", f"{run} dlq list chicory.demo"),
    ]
    if taken.dead:
        letter = taken.dead[0].message_id
        steps += [
            ("all of it", f"{run} dlq show chicory.demo {letter}"),
            ("mend the cause", f"echo 'print(42)' > {LOST}"),
            ("send it again", f"{run} dlq replay chicory.demo {letter}"),
            ("run it (control-C ends it)", f"{run} worker chicory.demo"),
            ("see its result", f"{run} result chicory.demo {letter}"),
        ]
    out.print("\n[bold]Next[/], in this folder:")
    if broker != DATABASE:
        out.print(f"  {_export(broker)}", soft_wrap=True, markup=False)
    width = max(len(command) for _, command in steps)
    for purpose, line in steps:
        out.print(f"  {line:{width}}  # {purpose}", soft_wrap=True, markup=False)
