"""How many messages a queue has."""

from __future__ import annotations

from msgspec import Struct


class Counts(Struct, frozen=True):
    """One queue at one moment: messages ready, delayed, leased; dead letters; paused or not."""

    ready: int = 0
    delayed: int = 0
    leased: int = 0
    dead: int = 0
    paused: bool = False
