"""Linux's notifications of changes to a file, through ctypes: the standard library has none."""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress
from pathlib import Path

_IN_MODIFY = 0x2
_BUFFER = 4096


def watch(path: Path) -> int | None:
    """A descriptor that becomes readable when the file is written to; ``None`` where that fails.

    It watches the file that the path names now. ``os.close`` ends it.
    """
    if not sys.platform.startswith("linux"):
        return None
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        descriptor = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if descriptor < 0:
            return None
        if libc.inotify_add_watch(descriptor, os.fsencode(path), _IN_MODIFY) >= 0:
            return int(descriptor)
    except (AttributeError, OSError):  # a libc without inotify
        return None
    os.close(descriptor)
    return None


def drain(descriptor: int) -> None:
    """Forget the notifications that came so far."""
    with suppress(BlockingIOError):
        while os.read(descriptor, _BUFFER):
            continue
