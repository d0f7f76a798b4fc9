"""Many values in one row, as JSON.

Python's module hands the interpreter lock over for each row that SQLite yields, and getting it back
from a busy event loop takes up to 5 ms: a batch must not cost a handover per message.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from msgspec import json

INLINE = 4096
"""Bytes: bodies up to this size come in one row with all the others, in hexadecimal."""


_ID = 32
"""Bytes of an id that chicory makes."""


def are_ids(names: Sequence[str]) -> bool:
    """Whether all have the length of an id, in bytes, too."""
    return set(map(len, names)) == {_ID} and all(map(str.isascii, names))


def pack(task_ids: Sequence[str], bodies: Sequence[bytes]) -> tuple[bytes, bytes, str]:
    """Ids end to end, bodies end to end, and where each body is: begin << 32 | length."""
    lengths = list(map(len, bodies))
    spans = [
        (end - length) << 32 | length
        for end, length in zip(accumulate(lengths), lengths, strict=True)
    ]
    # what is cut out of a value of no bytes is NULL
    return "".join(task_ids).encode(), b"".join([*bodies, b"\0"]), array(spans)


def array(numbers: Sequence[int]) -> str:
    """Numbers as a parameter for ``json_each``."""
    # not for text: older SQLites cut JSON's at NUL
    return json.encode(numbers).decode()
