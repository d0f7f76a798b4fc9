"""What chicory logs, and the means to wait for it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from chicory.clock import SystemClock
from chicory.signal import Signal


class Log(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self.lines: list[str] = []
        self._signal = Signal(SystemClock())

    def emit(self, record):
        self.records.append(record)
        self.lines.append(record.getMessage())
        self._signal.notify()

    def find(self, text: str) -> list[logging.LogRecord]:
        pairs = zip(self.records, self.lines, strict=False)  # a thread may be in between the two
        return [record for record, line in pairs if text in line]

    def count(self, text: str) -> int:
        return len(self.find(text))

    async def heard(self, text: str, times: int = 1) -> list[str]:
        """The words of the line in which this is said for that time."""
        while True:
            seen = self._signal.version
            if len(found := self.find(text)) >= times:
                return found[times - 1].getMessage().split()
            await self._signal.wait(seen)


@contextmanager
def logged(level: int) -> Iterator[Log]:
    """What is logged meanwhile, of this level or above."""
    handler, logger = Log(), logging.getLogger("chicory")
    logger.addHandler(handler)
    before = logger.level
    logger.setLevel(level)
    try:
        yield handler
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
