"""Whether what a fetch brings was leased just now, or before the event loop stood still."""

from __future__ import annotations

import math
import time


class Freshness:
    """Doubted from a moment on that is moved for as long as the event loop goes on."""

    def __init__(self) -> None:
        self._is_lost = False
        self._doubtful_from = math.inf

    def begin(self) -> None:
        """A fetch begins."""
        self._is_lost = False

    def doubt_from(self, moment: float) -> None:
        """What a fetch brings then was leased long ago, unless ``trust`` is called before.

        ``moment``: monotonic seconds. To be called from any thread.
        """
        self._doubtful_from = moment

    def trust(self) -> None:
        """The event loop goes on; has it not for long, the fetch under way is not trusted."""
        self._is_lost = not self.is_kept
        self._doubtful_from = math.inf

    @property
    def is_kept(self) -> bool:
        """Whether what comes now can be begun with."""
        # an answer that came while the loop stood still may be heard before ``trust`` is called
        return not self._is_lost and time.monotonic() <= self._doubtful_from
