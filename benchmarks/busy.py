"""Work for a processor; for peers, too: the standard library only."""

from __future__ import annotations

import time


def spin(seconds: float) -> None:
    """Take so much CPU time of this thread, however long it has to wait for it."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass
