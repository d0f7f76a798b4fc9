"""That something moves in a worker: a slot becomes free, or an outcome durable."""

from __future__ import annotations

from anyio import Event


class Motion:
    """Wakes who waits for it.

    Attributes:
        finished: slots that have become free so far.
    """

    def __init__(self) -> None:
        self.finished = 0
        self._next: Event | None = None

    def finish(self) -> None:
        """A slot has become free."""
        self.finished += 1
        if self._next is not None:
            self.tell()

    def tell(self) -> None:
        """Something has moved."""
        if self._next is not None:
            self._next.set()
            self._next = None

    async def wait(self) -> None:
        """Until something moves."""
        if self._next is None:
            self._next = Event()
        await self._next.wait()
