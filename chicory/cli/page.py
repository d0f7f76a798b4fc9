"""The tables of ``docs/configuration.md``: ``python -m chicory.cli.page docs/configuration.md``."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from chicory.cli.reference import Entry, entries
from chicory.environment import Section

BEGIN = "<!-- made by python -m chicory.cli.page docs/configuration.md -->"
END = "<!-- end of what is made -->"


def page(text: str) -> str:
    """The text of the page with its tables made anew.

    Raises ``ValueError`` where the marks are missing between which they stand.
    """
    before, _, rest = text.partition(f"{BEGIN}\n")
    _, mark, after = rest.partition(END)
    if not mark:
        raise ValueError(f"the page has no {BEGIN} with {END} after it")
    tables = "\n".join(_table(list(g)) for _, g in groupby(entries(), lambda e: e.section))
    return f"{before}{BEGIN}\n\n{tables}\n{END}{after}"


def _table(rows: Sequence[Entry]) -> str:
    section = rows[0].section
    with_options = any(row.options for row in rows)
    heading = ["field", "takes", "default", "variable", *["option"] * with_options, "meaning"]
    lines = [f"### {section.__name__}", "", _summary(section), "", _row(heading)]
    lines.append("|---" * len(heading) + "|")
    for row in rows:
        options = ", ".join(map(_code, row.options))
        cells = [_code(row.field), row.takes, _code(row.default), _code(row.variable)]
        lines.append(_row([*cells, *[options] * with_options, row.meaning]))
    return "\n".join([*lines, ""])


def _row(cells: Sequence[str]) -> str:
    return "|" + "".join(f" {cell} |" if cell else " |" for cell in cells)


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _summary(section: type[Section]) -> str:
    summary = inspect.cleandoc(section.__doc__ or "").partition("\n")[0]
    return summary.replace("``", "`")


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.write_text(page(target.read_text()))
