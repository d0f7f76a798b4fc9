"""What happened, in a file that no kill can falsify: each note is one append to it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from enum import StrEnum
from operator import attrgetter
from pathlib import Path
from sys import intern
from typing import NamedTuple, Self

from msgspec import Struct

_END = "."
"""The last field of each line: what lacks it was torn by the death of its writer."""
_FIELDS = 7


class Event(StrEnum):
    """What can happen.

    Of a call, noted by its producer: ``ABOUT`` to enqueue, then ``ACCEPTED``, ``REFUSED`` (surely
    not enqueued) or ``UNSURE``, and ``REMOVED`` where it was cancelled before it began. By its
    workers: ``FETCHED``, ``STARTED``, ``EFFECT`` (what the user's code does), ``SETTLING``, then
    ``SETTLED``, ``FENCED`` or neither. Of the surroundings: a process was ``READY``, ``KILLED``,
    ``STOPPED``, ``RESUMED``, or had ``STALLED`` for want of a processor; the broker could not be
    reached between ``AWAY`` and ``BACK``; what it held was ``WIPED`` by an operator; a ``FAULT``
    began.
    """

    ABOUT = "about"
    ACCEPTED = "accepted"
    REFUSED = "refused"
    UNSURE = "unsure"
    REMOVED = "removed"
    FETCHED = "fetched"
    STARTED = "started"
    EFFECT = "effect"
    SETTLING = "settling"
    SETTLED = "settled"
    FENCED = "fenced"
    READY = "ready"
    KILLED = "killed"
    STOPPED = "stopped"
    RESUMED = "resumed"
    STALLED = "stalled"
    AWAY = "away"
    BACK = "back"
    WIPED = "wiped"
    FAULT = "fault"


class Entry(NamedTuple):
    """One line.

    Attributes:
        event: what happened.
        at: when; of the monotonic clock, which all processes of a machine share.
        pid: to which process.
        key: the id of the call.
        attempt: the retries made before, of a call that was fetched.
        detail: of ``ABOUT`` the kind of the call; of ``SETTLING`` to ``FENCED`` one of ``WAYS``,
            with the reason of a death; of ``STALLED`` the seconds; of others free text.
    """

    event: Event
    at: float
    pid: int = 0
    key: str = ""
    attempt: int = 0
    detail: str = ""


DONE, RETRY, DEAD, RELEASE = "done", "retry", "dead", "release"
WAYS = (DONE, RETRY, DEAD, RELEASE)
"""Ways to settle, as they stand in ``detail``: ``dead:failed`` has its reason."""


def in_order(entries: Iterable[Entry]) -> list[Entry]:
    """Entries as they happened: who looked at the clock may be stopped before it writes."""
    return sorted(entries, key=attrgetter("at"))


class Note(Struct, frozen=True):
    """What a process notes of itself, now."""

    event: Event
    key: str = ""
    attempt: int = 0
    detail: str = ""


class Pen:
    """Appends to a ledger. What was noted outlives the process, whatever becomes of that."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def note(self, event: Event, key: str = "", attempt: int = 0, detail: str = "") -> None:
        """Note one thing about this process."""
        self.notes([Note(event, key, attempt, detail)])

    def notes(self, notes: Iterable[Note]) -> None:
        """Note things that happen at once."""
        now, pid = time.monotonic(), os.getpid()
        self.enter([Entry(n.event, now, pid, n.key, n.attempt, n.detail) for n in notes])

    def enter(self, entries: Sequence[Entry]) -> None:
        """Append entries, in one write."""
        # a line torn by a kill has no end: the next one must not become its rest
        text = "".join(f"\n{_line(entry)}" for entry in entries)
        if text:
            os.write(self._descriptor, text.encode() + b"\n")

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _line(entry: Entry) -> str:
    event, at, pid, key, attempt, detail = entry
    return f"{event.value}\t{at:.6f}\t{pid}\t{key}\t{attempt}\t{detail}\t{_END}"


class Reader:
    """Reads a ledger as it grows."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._rest = b""

    def read(self) -> list[Entry]:
        """What was written since; a line that is not whole yet comes next time."""
        *lines, self._rest = (self._rest + self._file.read()).split(b"\n")
        return [entry for line in lines if (entry := _parse(line))]

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


_EVENTS = {event.value: event for event in Event}


def _parse(line: bytes) -> Entry | None:
    fields = line.decode(errors="replace").split("\t")
    if len(fields) != _FIELDS or fields[-1] != _END:
        return None
    event, at, pid, key, attempt, detail, _ = fields
    # millions of lines tell of the same calls
    return Entry(_EVENTS[event], float(at), int(pid), intern(key), int(attempt), intern(detail))
