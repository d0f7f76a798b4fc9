"""What this process takes of the machine."""

from __future__ import annotations

import gc
import os
import time
from pathlib import Path

import anyio


def resident() -> float:
    """Mebibytes in memory now, garbage apart; 0 where the system does not tell as Linux does."""
    gc.collect()
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


async def cpu_share(seconds: float) -> float:
    """CPU time of all threads over the next seconds, in percent of one core."""
    begin, busy = time.perf_counter(), time.process_time()
    await anyio.sleep(seconds)
    return 100 * (time.process_time() - busy) / (time.perf_counter() - begin)
