"""What this process takes of the machine; for peers, too: the standard library only."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

_MIB = 2**20


def resident() -> float:
    """Mebibytes of this process in memory now, garbage apart."""
    gc.collect()
    return resident_of(os.getpid())


def resident_of(process: int) -> float:
    """Mebibytes of a process in memory; 0 where the system does not tell as Linux does."""
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / _MIB


async def cpu_share(seconds: float, sleep: Callable[[float], Awaitable[None]]) -> float:
    """CPU time of all threads over the next seconds, in percent of one core."""
    begin, busy = time.perf_counter(), time.process_time()
    await sleep(seconds)
    return 100 * (time.process_time() - busy) / (time.perf_counter() - begin)
