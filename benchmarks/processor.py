"""Processor time of a process that is not this one; for peers, too: the standard library only."""

from __future__ import annotations

import os
from pathlib import Path


def spent(process: int) -> float:
    """Seconds of all its threads; 0 where there is none, or no ``/proc`` to tell."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text(encoding="ascii")
    except OSError:
        return 0.0
    user, system = stat.rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
