"""What the signals mean to a worker."""

from __future__ import annotations

import signal
from collections.abc import Callable

import anyio
from anyio.abc import TaskStatus


async def hear_signals(
    stop: Callable[[str], None], cancel: Callable[[], None], *, task_status: TaskStatus[None]
) -> None:
    """The first SIGINT or SIGTERM stops, the second one cancels, the third one does what it does.

    ``stop`` is told its name.
    """
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as received:
        task_status.started()
        told = False
        async for number in received:
            if told:
                cancel()
                return
            told = True
            stop(signal.Signals(number).name)
