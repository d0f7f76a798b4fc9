"""How long a worker that ends goes on waiting for a broker that may not answer."""

from __future__ import annotations

import math
from collections.abc import Generator
from contextlib import contextmanager

import anyio
from anyio import CancelScope


class Farewell:
    """Shields that hold for ever until the farewell begins, and from then on for a while."""

    def __init__(self) -> None:
        self._deadline = math.inf
        self._shields: set[CancelScope] = set()

    @property
    def over(self) -> bool:
        """Whether there is nothing to wait for any more."""
        return anyio.current_time() >= self._deadline

    def begin(self, seconds: float) -> None:
        """Give what is shielded, now and later, so many seconds from now."""
        self._deadline = anyio.current_time() + seconds
        for scope in self._shields:
            scope.deadline = self._deadline

    @contextmanager
    def shield(self) -> Generator[None]:
        """Keep cancellation from a block; once the farewell is over, leave the block."""
        with CancelScope(shield=True, deadline=self._deadline) as scope:
            self._shields.add(scope)
            try:
                yield
            finally:
                self._shields.discard(scope)
