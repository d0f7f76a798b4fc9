"""What the signals mean to a worker."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import anyio
from anyio.abc import TaskStatus

WANTED = (signal.SIGINT, signal.SIGTERM)
AS_USUAL = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
"""What they do to a process of Python's that has not asked for anything else."""
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

    _hearing.append(hear)
    for number in WANTED:
        signal.signal(number, hear)
    try:
        yield
    finally:
        _hearing.remove(hear)
        for number, note in noting.items():
            if signal.getsignal(number) is hear:
                signal.signal(number, note)


def _leave_to_the_parent() -> None:
    """Have a fork end of signals: until Python 3.12 asyncio told its parent of them."""
    inherited = [number for number in WANTED if signal.getsignal(number) in _hearing]
    if inherited:
        signal.set_wakeup_fd(-1)
    for number in inherited:
        signal.signal(number, AS_USUAL[number])


_hearing: list[Any] = []
"""Handlers of workers that hear signals."""
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_the_parent)
