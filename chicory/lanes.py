"""Group commits side by side: while the broker has one batch, the next one is made and sent.

Few callers share one lane, for a batch costs more than an item of it. Where there are more, those
of one lane are answered, and go on, while the batch of the other is under way.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from chicory.coalescer import Coalescer

T = TypeVar("T")
R = TypeVar("R")

WORTH_ANOTHER = 8
"""Calls in one lane that another one is worth taking for."""


class Lanes(Generic[T, R]):
    """Coalescers of one ``flush``, of which so many may be under way together."""

    def __init__(
        self, flush: Callable[[Sequence[T]], Awaitable[Sequence[R]]], limit: int, together: int
    ) -> None:
        self._lanes = [Coalescer[T, R](flush, limit) for _ in range(together)]

    def submit(self, item: T) -> Awaitable[R]:
        """As ``Coalescer.submit``, in the lane where there is least to wait for."""
        best = self._lanes[0]
        if best.calls >= WORTH_ANOTHER:
            best = min(self._lanes, key=_calls)
        return best.submit(item)


def _calls(lane: Coalescer[T, R]) -> int:
    return lane.calls
