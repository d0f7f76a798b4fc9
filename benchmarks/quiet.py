"""Whether the machine is ours: what others take of it while something is measured."""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path

_CALM = 0.1
_GLANCE = 0.5


class Others:
    """What processes that are not the benchmark's take of the processors, from now on."""

    def __init__(self) -> None:
        self._begin = time.monotonic()
        self._theirs = _busy() - _ours()

    def share(self) -> float:
        """Their share of all processors since then, 0 to 1.

        Children of the benchmark must have ended, or count as others; 0 where the system does not
        tell as Linux does.
        """
        seconds = (time.monotonic() - self._begin) * (os.cpu_count() or 1)
        return max(0.0, (_busy() - _ours() - self._theirs) / seconds)


def wait(patience: float) -> None:
    """Wait until others take less than a tenth of the processors, but no longer than that."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        others = Others()
        time.sleep(_GLANCE)
        if others.share() < _CALM:
            return


def _busy() -> float:
    try:
        line = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0]
    except OSError:
        return 0.0
    user, nice, system, _, _, irq, softirq, steal = map(int, line.split()[1:9])
    ticks = user + nice + system + irq + softirq + steal
    return ticks / os.sysconf("SC_CLK_TCK")


def _ours() -> float:
    ours = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in ours)
