"""The server's clock: by it leases and locks go, whatever the clocks of those who hold them say."""

from __future__ import annotations

import time
from datetime import datetime


class Clock:
    """What the server's clock says, reckoned on from when it was last heard.

    Before it was heard at all, the clock of this machine.
    """

    def __init__(self) -> None:
        self._ahead = time.time() - time.monotonic()

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.monotonic() + self._ahead

    def hear(self, stamp: str, at: float) -> None:
        """The server's clock was at ``stamp`` when the monotonic clock was at ``at``."""
        self._ahead = moment(stamp) - at


def moment(stamp: str) -> float:
    """A timestamp of the server as seconds since the epoch; 0 for none.

    It has more digits than Python reads.
    """
    if not stamp:
        return 0.0
    whole, dot, rest = stamp.rstrip("Z").partition(".")
    return datetime.fromisoformat(f"{whole}{dot}{rest[:6]}+00:00").timestamp()
