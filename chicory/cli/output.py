"""What commands print: tables for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, cast

import msgspec
from cyclopts import Parameter
from rich.console import Console
from rich.table import Table
from rich.text import Text

from chicory.codec import PLAIN, Codec
from chicory.logs import harmless

AsJSON = Annotated[bool, Parameter(name="--json", negative=(), help="Print JSON, for programs.")]

UNBOUNDED = 10_000
"""Columns; more than any row needs."""
LONGEST = 100
"""Characters of a text that a table shows the gist of."""


def console() -> Console:
    """The console of this command's output."""
    return Console(highlight=False)


def print_whole(table: Table) -> None:
    """Print a table without cutting or folding a cell: an id that is cut is of no use."""
    for line in lines(table):
        print(line)


def lines(table: Table) -> list[str]:
    """The lines of a table, as wide as they need to be."""
    wide = Console(highlight=False, width=UNBOUNDED)
    with wide.capture() as captured:
        wide.print(table)
    return [line.rstrip() for line in captured.get().splitlines()]


def show(rows: Sequence[Mapping[str, Any]], *, as_json: bool, empty: str) -> None:
    """Print rows of one shape as a table, or as a JSON array; ``empty`` where there are none."""
    if as_json:
        print_json(rows)
    elif rows:
        print_whole(table(rows))
    else:
        print(empty)


def show_one(fields: Mapping[str, Any], *, as_json: bool) -> None:
    """Print one thing field by field, or as a JSON object."""
    if as_json:
        print_json(fields)
        return
    grid = Table.grid(padding=(0, 2))
    shown = {name: value for name, value in fields.items() if value is not None}
    for name, value in shown.items():
        grid.add_row(
            Text(name.replace("_", " "), style="bold"), Text(harmless(_text(value), kept="\n\t"))
        )
    print_whole(grid)


def print_json(value: object, types: Codec = PLAIN) -> None:
    """Print any value that a task can return as JSON, on lines of its own."""
    print(json_text(value, types))


def json_text(value: object, types: Codec = PLAIN) -> str:
    """Any value that a task can return as JSON."""

    def plain(part: object) -> object:
        try:
            return types.reduce(part)
        except (TypeError, ValueError):
            return str(part)

    try:
        packed = msgspec.json.encode(value, enc_hook=plain)
    except (TypeError, ValueError):  # a key, or text, that JSON does not have
        packed = msgspec.json.encode(repr(value))
    # what JSON leaves as it is steers terminals, too: C1, DEL, the direction of writing
    text = msgspec.json.format(packed, indent=2).decode()
    return harmless(text, kept="\n", write=lambda char: json.dumps(char)[1:-1])


def gist(text: str) -> str:
    """What of a long text fits into a table."""
    line, rest, _ = text.partition("\n")
    return f"{line[:LONGEST]} ..." if rest or len(line) > LONGEST else line


def span(seconds: float) -> str:
    """A length of time in its two largest units: ``3 h 20 min``."""
    rest = max(0, round(seconds))
    parts: list[str] = []
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        number, rest = divmod(rest, size)
        if number or parts:
            parts.append(f"{number} {unit}" if number else "")
    return " ".join(filter(None, parts[:2])) or "0 s"


def table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """A table of rows of one shape."""
    made = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for name, value in rows[0].items():
        right = isinstance(value, int | float) and not isinstance(value, bool)
        made.add_column(name.replace("_", " "), justify="right" if right else "left")
    for row in rows:
        made.add_row(*(Text(_cell(value)) for value in row.values()))
    return made


def _cell(value: object) -> str:
    if isinstance(value, list):
        return "\n".join(harmless(_text(each)) for each in cast("list[object]", value))
    return harmless(_text(value))


def _text(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:,.3g}" if value < 1 else f"{value:,.1f}"
        case datetime():
            return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        case _:
            return str(value)
