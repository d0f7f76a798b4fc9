"""Many values in one row, as JSON.

Python's module hands the interpreter lock over for each row that SQLite yields, and getting it back
from a busy event loop takes up to 5 ms: a batch must not cost a handover per message.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from operator import attrgetter
from typing import NamedTuple

from msgspec import json

from chicory.transport import Publication

INLINE = 4096
"""Bytes: bodies up to this size come in one row with all the others, in hexadecimal."""


_ID = 32
"""Bytes of an id that chicory makes."""
_FEW = 16
"""Messages that are not worth packing."""
_KIND = attrgetter("queue", "priority", "not_before", "unique")


class Parcel(NamedTuple):
    """Messages that differ in no more than id and body, as one value of each column."""

    number: int
    ids: bytes
    bodies: bytes
    spans: str


def parcel(publications: Sequence[Publication]) -> Parcel | None:
    """These messages packed; ``None`` where they are few, unlike, hold a key, or have other ids."""
    if len(publications) < _FEW or not are_alike(publications) or publications[0].unique:
        return None
    task_ids = [each.task_id for each in publications]
    if not are_ids(task_ids):
        return None
    return Parcel(len(task_ids), *_pack(task_ids, [each.body for each in publications]))


def are_alike(publications: Sequence[Publication]) -> bool:
    """Whether they differ in no more than id and body, as calls of one task mostly do."""
    return len(set(map(_KIND, publications))) == 1


def are_ids(names: Sequence[str]) -> bool:
    """Whether all have the length of an id, in bytes, too."""
    return set(map(len, names)) == {_ID} and all(map(str.isascii, names))


def _pack(task_ids: Sequence[str], bodies: Sequence[bytes]) -> tuple[bytes, bytes, str]:
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
