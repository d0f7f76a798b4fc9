"""A limit on how many attempts of a kind run at once."""

from __future__ import annotations


class Quota:
    """So many places.

    Attributes:
        limit: how many.
        taken: how many of them are in use.
    """

    __slots__ = ("limit", "taken")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.taken = 0

    @property
    def is_full(self) -> bool:
        """Whether there is no place left."""
        return self.taken >= self.limit
