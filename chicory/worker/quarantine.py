"""Keeping apart the messages that may be about to kill their last worker."""

from __future__ import annotations

from collections.abc import Sequence

from chicory.worker.attempt import Attempt


class Quarantine:
    """Lets one suspect run at a time, and not before the worker has rid itself of the others.

    Whatever else is on its last delivery when the worker dies would be blamed for it as well.
    """

    def __init__(self) -> None:
        self._suspect: Attempt | None = None
        self._has_begun = False
        self._leaving: set[Attempt] = set()

    def admit(self, suspect: Attempt) -> bool:
        """Keep this suspect, if it is the only one; where False it must be given back."""
        if self._suspect is None:
            self._suspect, self._has_begun = suspect, False
            return True
        self._leaving.add(suspect)
        return False

    def begin(self) -> Sequence[Attempt]:
        """The suspect, once, as soon as it may begin."""
        if self._suspect is None or self._has_begun or self._leaving:
            return ()
        self._has_begun = True
        return (self._suspect,)

    def take_back(self) -> Sequence[Attempt]:
        """The suspect, where it has not begun."""
        return () if self._suspect is None or self._has_begun else (self._suspect,)

    def ended(self, attempt: Attempt) -> None:
        """An attempt has come to an end: where it was the suspect, there is room for another."""
        if attempt is self._suspect:
            self._suspect = None

    def left(self, attempt: Attempt) -> bool:
        """The worker has rid itself of an attempt; whether that lets the suspect begin."""
        if attempt not in self._leaving:
            return False
        self._leaving.discard(attempt)
        return not self._leaving
