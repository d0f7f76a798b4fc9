"""A process that runs tasks ends with its worker, even one that was killed, whatever it is doing.

The worker holds one end of a pipe, which the kernel closes with it. The kernel then also signals
the process at the other end, and what its tasks have started: no code of theirs has to run for
that, so that a loop in C ends as well.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal

_ENDED = 1
"""Exit code of a process whose worker is gone; nobody sees it."""


def _end(number: int, frame: object) -> None:  # noqa: ARG001  (what a handler takes)
    os._exit(_ENDED)


def die_with(descriptor: int) -> None:
    """End this process, and its group, when the other end of the pipe is closed."""
    set_signal: int | None = getattr(fcntl, "F_SETSIG", None)  # Linux
    if set_signal is None:
        signal.signal(signal.SIGIO, _end)
    else:
        fcntl.fcntl(descriptor, set_signal, signal.SIGKILL)
    fcntl.fcntl(descriptor, fcntl.F_SETOWN, -os.getpgrp())
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | os.O_ASYNC)
    if select.select([descriptor], [], [], 0)[0]:  # it was closed before anybody would be told
        os._exit(_ENDED)
