"""The worker as its keeper sees it."""

from __future__ import annotations

import threading
from collections.abc import Callable

from chicory.loop import Loop
from chicory.transport import WorkerRecord
from chicory.worker.shift import Shift


class Ward:
    """What there is of it.

    Attributes:
        loop: the worker's event loop.
        thread: the identity of its thread.
        shift: what it holds, and takes orders; its methods are called on ``loop`` only.
        record: makes the heartbeat; called on the keeper's thread.
        retire: has the worker end, with the reason; called on ``loop`` only.
        known: told once its first heartbeat is stored; called on ``loop`` only.
        lag: seconds that the event loop took to answer, last time.
    """

    def __init__(
        self,
        loop: Loop,
        shift: Shift,
        record: Callable[[], WorkerRecord],
        retire: Callable[[str], None],
        known: Callable[[], None],
    ) -> None:
        self.loop = loop
        self.thread = threading.get_ident()
        self.shift = shift
        self.record = record
        self.retire = retire
        self.known = known
        self.lag = 0.0
