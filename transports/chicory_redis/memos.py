"""The names under which the server keeps its last answers to a script, in case they are lost."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import Any, TypeAlias

TOGETHER = 2
"""Calls of one script that are better under way together: the server is busy with one of them while
the client is with the other. More would only wait for the server."""
_MOST_OPEN = 8

Call: TypeAlias = tuple[str, int]
"""A memo, and a number that no other call has."""


class Memos:
    """One for each call of a script that may be under way, or has got no answer.

    Attributes:
        turn: held by each call that is under way.
    """

    def __init__(self, script: str) -> None:
        self.turn = asyncio.Semaphore(TOGETHER)
        self._names = (f"{script}:{number}" for number in count())
        self._numbers = count(1)
        self._free: list[str] = []
        self._open: dict[int, Call] = {}

    def begin(self, args: tuple[Any, ...]) -> tuple[Call, bool]:
        """A call with these arguments; whether it was made before and got no answer."""
        known = self._open.pop(hash(args), None) if self._open else None
        if known is not None:
            return known, True
        memo = self._free.pop() if self._free else next(self._names)
        return (memo, next(self._numbers)), False

    def end(self, call: Call) -> None:
        """It has got its answer."""
        self._free.append(call[0])

    def leave_open(self, call: Call, args: tuple[Any, ...]) -> None:
        """It has got none: who makes it again asks for that."""
        self._open[hash(args)] = call
        if len(self._open) > _MOST_OPEN:
            self.end(self._open.pop(next(iter(self._open))))
