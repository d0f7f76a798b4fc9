"""What the signals mean to a worker."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType

import anyio
from anyio.abc import TaskStatus

WANTED = (signal.SIGINT, signal.SIGTERM)
MOST = 2
"""Signals that are obeyed; the next one does to the process what it does to any other."""


async def hear_signals(
    stop: Callable[[str], None],
    cancel: Callable[[], None],
    overhear: Callable[[int], None],
    *,
    task_status: TaskStatus[None],
) -> None:
    """The first SIGINT or SIGTERM stops, the second one cancels, the third one does what it does.

    ``stop`` is told its name. ``overhear`` is told the count of signals at once, in the handler of
    the signal, also where the event loop is blocked and comes to neither.
    """
    heard: list[int] = []
    with anyio.open_signal_receiver(*WANTED) as received, _overheard(heard, overhear):
        task_status.started()
        stopped = cancelled = False
        # until this task is cancelled: a receiver that is left while it is about to be told of a
        # signal has that signal come again, to a process that does not hear it any more
        async for number in received:
            if not stopped:
                stop(signal.Signals(number).name)
            # trio makes one of equal ones that wait
            if not cancelled and (stopped or len(heard) >= MOST):
                cancel()
                cancelled = True
            stopped = True


@contextmanager
def _overheard(heard: list[int], overhear: Callable[[int], None]) -> Generator[None]:
    """Put a handler before that of the event loop, which only makes a note for it."""
    noting = {number: signal.getsignal(number) for number in WANTED}

    def hear(number: int, frame: FrameType | None) -> None:
        heard.append(number)
        if len(heard) > MOST:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        overhear(len(heard))
        note = noting[signal.Signals(number)]
        if callable(note):
            note(number, frame)

    for number in WANTED:
        signal.signal(number, hear)
    try:
        yield
    finally:
        for number, note in noting.items():
            if signal.getsignal(number) is hear:
                signal.signal(number, note)
