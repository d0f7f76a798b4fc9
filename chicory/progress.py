"""How far a call has come, as its task reports it.

It is kept beside the call's result under an identity of its own: a report that comes late, or from
a worker that has lost the call, never touches the result.
"""

from __future__ import annotations

import math
from contextlib import suppress
from hashlib import sha256

import msgspec
from msgspec import Struct

from chicory import codec
from chicory.accepted import brief
from chicory.errors import MessageError
from chicory.transport import MAX_NAME

_PREFIX = "chicory:progress:"
MAX_NOTE = 1_000
"""Characters kept of a note: its begin."""


class Progress(Struct, frozen=True, array_like=True):
    """The latest report of a call.

    Attributes:
        done: how much is done.
        total: how much there is to do; ``None``: not known.
        note: what is going on, in the task's words.
        at: when it was reported; seconds since the epoch.
        retries: attempts made before the one that reports.
    """

    done: float
    total: float | None = None
    note: str = ""
    at: float = 0.0
    retries: int = 0

    @property
    def fraction(self) -> float | None:
        """From 0 to 1; ``None`` where the total is not known."""
        if self.total is None:
            return None
        return min(1.0, self.done / self.total) if self.total else 1.0


def report(done: float, total: float | None, note: str, retries: int) -> Progress:
    """A report that can be stored. Raises ``ValueError`` for what is no amount, or no text."""
    return Progress(
        _amount(done, "done"),
        None if total is None else _amount(total, "total"),
        _text(note),
        retries=retries,
    )


def _amount(value: float, name: str) -> float:
    with suppress(Exception):  # of whatever class the value is
        if 0 <= value < math.inf and (amount := float(value)) < math.inf:
            return amount
    raise ValueError(f"progress({name}={brief(value)}): must be a number, 0 or more")


def _text(note: str) -> str:
    if not isinstance(note, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ValueError(f"progress(note={brief(note)}): must be text")  # noqa: TRY004  (as for amounts)
    return codec.sendable(note[:MAX_NOTE])[:MAX_NOTE]


def key(task_id: str) -> str:
    """The identity under which the progress of a call is recorded."""
    name = _PREFIX + task_id
    return name if len(name) <= MAX_NAME else _PREFIX + sha256(task_id.encode()).hexdigest()


def encode(progress: Progress) -> bytes:
    """The bytes of a report."""
    return codec.encode(progress)


def decode(body: bytes) -> Progress:
    """Read a report. Raises ``MessageError`` for bytes that are none."""
    try:
        return _progress.decode(body)
    except codec.DECODE_ERRORS as error:
        raise MessageError(f"not a report of chicory: {error}") from error


_progress = msgspec.msgpack.Decoder(Progress)
