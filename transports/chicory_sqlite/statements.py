"""The SQL of this package: named statements in the files of ``sql/``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)
_ROW = re.compile(r"VALUES (\(.*\))")


def load(noun: str) -> Mapping[str, str]:
    """The statements of one file by name, in the order in which they stand there."""
    text = files("chicory_sqlite").joinpath("sql", f"{noun}.sql").read_text(encoding="utf-8")
    parts = _NAME.split(text)[1:]
    return {name: body.strip() for name, body in zip(parts[::2], parts[1::2], strict=True)}


@lru_cache(maxsize=64)
def widen(statement: str, rows: int) -> str:
    """A statement of the ``VALUES`` of one row made to take that many at once."""
    return _ROW.sub(lambda found: "VALUES " + ", ".join([found[1]] * rows), statement, count=1)
