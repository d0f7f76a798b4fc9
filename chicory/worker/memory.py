"""How much memory this process has."""

from __future__ import annotations

import os
import sys
from pathlib import Path

MEBIBYTE = 1 << 20


def resident() -> int:
    """MiB of memory that this process has in use; its peak where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return _peak()
    return pages * os.sysconf("SC_PAGE_SIZE") // MEBIBYTE


def _peak() -> int:
    import resource  # noqa: PLC0415  (not everywhere)

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // MEBIBYTE if sys.platform == "darwin" else peak // 1024
