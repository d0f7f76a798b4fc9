"""Many values in one row, as JSON.

Python's module hands the interpreter lock over for each row that SQLite yields, and getting it back
from a busy event loop takes up to 5 ms: a batch must not cost a handover per message.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import json

INLINE = 4096
"""Bytes: bodies up to this size come in one row with all the others, in hexadecimal."""


def array(numbers: Sequence[int]) -> str:
    """Numbers as a parameter for ``json_each``."""
    # not for text: older SQLites cut JSON's at NUL
    return json.encode(numbers).decode()
