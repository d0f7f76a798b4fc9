"""Processor time, of this process and of others; for peers, too: the standard library only."""

from __future__ import annotations

import os
import time
from pathlib import Path


def spent(process: int) -> float:
    """Seconds of all its threads; 0 where there is none, or no ``/proc`` to tell."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text(encoding="ascii")
    except OSError:
        return 0.0
    user, system = stat.rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


class Span:
    """What passes from now on until it is ended; and, where it is begun again, that as well.

    Attributes:
        seconds: by the clock.
        ours: seconds of CPU time of this process.
        served: the same of the server.
    """

    def __init__(self, server: int) -> None:
        self._server = server
        self.seconds = self.ours = self.served = 0.0
        self.begin()

    def begin(self) -> None:
        """Go on from now."""
        self._begin = self._now()

    def end(self) -> None:
        """Take the time."""
        seconds, ours, served = (
            now - then for now, then in zip(self._now(), self._begin, strict=True)
        )
        self.seconds += seconds
        self.ours += ours
        self.served += served

    def costs(self, count: int, ours: str, servers: str) -> dict[str, float]:
        """Microseconds of CPU time for each of so many; without a server's where there is none."""
        costs = {ours: 1e6 * self.ours / count}
        return {**costs, servers: 1e6 * self.served / count} if self.served else costs

    def _now(self) -> tuple[float, float, float]:
        return time.perf_counter(), time.process_time(), spent(self._server)
