"""The names under which the server keeps its last answers to a script, in case they are lost."""

from __future__ import annotations

import asyncio

TOGETHER = 2
"""Calls of one script that are better under way together: the server is busy with one of them while
the client is with the other. More would only wait for the server."""


class Memos:
    """One for each call of a script that may be under way.

    Attributes:
        turn: held by each of these calls.
        free: those that no call has.
    """

    def __init__(self, script: str) -> None:
        self.turn = asyncio.Semaphore(TOGETHER)
        self.free = [f"{script}:{number}" for number in range(TOGETHER)]
