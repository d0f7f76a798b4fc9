"""Keeping apart the messages that may be about to kill their last worker."""

from __future__ import annotations

import math
from collections.abc import Sequence

from chicory.worker.attempt import Attempt

PATIENCE = 2.0
"""Seconds for which nothing is fetched while a suspect runs and others come next in the queue.

Most tasks take less: their suspects then run one right after the other. What is refused while one
runs for longer is to be offered again later, and loses its place in the queue by that: it waits for
all that is in the queue by then.
"""
PAUSE = 1.0
"""Seconds after which such a suspect is offered again."""


class Quarantine:
    """Lets one suspect run at a time, and not before the worker has rid itself of the others.

    Whatever else is on its last delivery when the worker dies would be blamed for it as well: the
    others that it holds, and the one before, as long as its outcome is not durable.

    What is refused goes back to its place, the first one in the queue. So that it is not fetched
    over and over, nothing is fetched while the suspect runs, unless that takes long, and after it
    one message at a time until one comes that is no suspect. All times are monotonic seconds.
    """

    def __init__(self) -> None:
        self._suspect: Attempt | None = None
        self._began_at = math.inf
        self._leaving: set[Attempt] = set()
        self._is_crowded = False

    def admit(self, suspect: Attempt) -> bool:
        """Keep this suspect, if it is the only one; where False it must be given back."""
        if self._suspect is None:
            self._suspect, self._began_at = suspect, math.inf
            return True
        self._leaving.add(suspect)
        return False

    def pause(self, now: float) -> float:
        """Seconds after which one that was refused is to be offered again; 0 for at once."""
        if self._is_long(now):
            return PAUSE
        self._is_crowded = True
        return 0.0

    def clear(self) -> None:
        """What was fetched had no suspect: the others that were refused are gone."""
        self._is_crowded = False

    def limit(self, now: float) -> float:
        """How many messages may be fetched now."""
        if not self._is_crowded or self._is_long(now):
            return math.inf
        return 1 if self._suspect is None else 0

    def until(self) -> float:
        """When that changes by the time alone; ``inf`` for never."""
        return self._began_at + PATIENCE if self._is_crowded and self._suspect else math.inf

    def _is_long(self, now: float) -> bool:
        return self._suspect is not None and now - self._began_at >= PATIENCE

    def begin(self, now: float) -> Sequence[Attempt]:
        """The suspect, once, as soon as it may begin."""
        if self._suspect is None or self._has_begun or self._leaving:
            return ()
        self._began_at = now
        return (self._suspect,)

    @property
    def _has_begun(self) -> bool:
        return self._began_at < math.inf

    def take_back(self) -> Sequence[Attempt]:
        """The suspect, where it has not begun."""
        return () if self._suspect is None or self._has_begun else (self._suspect,)

    def ended(self, attempt: Attempt) -> None:
        """An attempt has come to an end: where it was the suspect, another one may come."""
        if attempt is self._suspect:
            self._suspect = None
            self._leaving.add(attempt)

    def left(self, attempts: Sequence[Attempt]) -> bool:
        """The worker has rid itself of these; whether that lets the suspect begin."""
        if self._leaving.isdisjoint(attempts):
            return False
        self._leaving.difference_update(attempts)
        return not self._leaving
