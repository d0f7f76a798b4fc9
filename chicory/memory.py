"""How much memory a process has."""

from __future__ import annotations

import os
import sys
from pathlib import Path

MEBIBYTE = 1 << 20
_PROC = Path("/proc")


def resident() -> int:
    """MiB of memory that this process has in use; its peak where the system does not tell."""
    used = resident_of(os.getpid())
    return _peak() if used is None else used // MEBIBYTE


def resident_of(pid: int) -> int | None:
    """Bytes of memory that a process has in use; ``None`` where the system does not tell."""
    try:
        pages = int((_PROC / str(pid) / "statm").read_text(encoding="ascii").split()[1])
    except (OSError, IndexError):  # it may be about to end
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def can_tell() -> bool:
    """Whether the system tells of other processes."""
    return resident_of(os.getpid()) is not None


def _peak() -> int:
    import resource  # noqa: PLC0415  (not everywhere)

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // MEBIBYTE if sys.platform == "darwin" else peak // 1024
