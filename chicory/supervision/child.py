"""One worker process, from its start to its end."""

from __future__ import annotations

import errno
import logging
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import aclosing, suppress

import anyio
from anyio import Event, move_on_after
from anyio.abc import Process

from chicory.answers import Answer
from chicory.supervision.lifeline import VARIABLE, AtWork, Health, hear, pair

GRACE = 15.0
"""Seconds that a process gets to end beyond the time its tasks get."""

logger = logging.getLogger("chicory.supervisor")


class Child:
    """A process that runs ``command``, with a lifeline to this one.

    It is in a session of its own: a control-C in the terminal reaches the supervisor only, which
    passes it on once.

    Attributes:
        place: the number of its place among the supervisor's.
    """

    def __init__(self, process: Process, line: socket.socket, place: int) -> None:
        self.place = place
        self._process = process
        self._line = line
        self._born = time.monotonic()
        self._settled = Event()
        self._timeout: float | None = None
        self._is_told = False

    @classmethod
    async def start(cls, command: Sequence[str], place: int) -> Child:
        """Start it in place number ``place``. Raises ``OSError``."""
        ours, theirs = pair()
        try:
            with theirs:
                process = await anyio.open_process(
                    list(command),
                    stdin=subprocess.DEVNULL,
                    stdout=None,
                    stderr=None,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                    env=os.environ | {VARIABLE: str(theirs.fileno())},
                )
        except RuntimeError as error:  # there is no thread left to wait for it
            ours.close()
            raise BlockingIOError(errno.EAGAIN, str(error)) from error
        except BaseException:
            ours.close()
            raise
        return cls(process, ours, place)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def age(self) -> float:
        """Seconds since its start."""
        return time.monotonic() - self._born

    async def listen(self, serve: Callable[[Health], None]) -> None:
        """Hear whether it gets to work, and where to ``serve``; to be run once, beside it."""
        try:
            async with aclosing(hear(self._line)) as all_it_says:
                async for said in all_it_says:
                    match said:
                        case Health():
                            serve(said)
                        case AtWork(shutdown_timeout=timeout):
                            self._timeout = timeout
                            self._settled.set()
        finally:
            self._line.close()
            self._settled.set()

    async def until_ready(self) -> bool:
        """Wait until it is at work; False if it ended before."""
        await self._settled.wait()
        return self.is_ready

    def stop(self) -> None:
        """Have it drain and end; told once, since a second SIGTERM has it cancel what it drains."""
        if not self._is_told:
            self._is_told = True
            self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        self._signal(signal.SIGKILL)

    async def wait(self) -> int:
        """Its exit code once it has ended; minus the signal's number if one killed it."""
        return await self._process.wait()

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended."""
        return self._process.returncode is None

    @property
    def is_ready(self) -> bool:
        """Whether it has said that it is at work."""
        return self._timeout is not None

    def ask(self, path: str, seconds: float) -> Answer | None:
        """What it answers to a path such as ``/live``; ``None`` if it does not, in that time.

        Blocks; to be called from a thread.
        """
        from chicory.endpoint import ask_on  # noqa: PLC0415  (HTTP is much to load)

        ours, theirs = socket.socketpair()
        with ours:
            try:
                with theirs:
                    socket.send_fds(self._line, [b"?"], [theirs.fileno()])
                return ask_on(ours, path, seconds)
            except OSError:
                return None

    async def end(self) -> None:
        """Have it drain and end, if it lives; kill it when its time is over."""
        if self.is_alive:
            self.stop()
            with move_on_after(GRACE + (self._timeout or 0.0)):
                await self.wait()
        if self.is_alive:
            name, late = f"worker process {self.place + 1} (pid {self.pid})", GRACE
            logger.error("%s does not end %g s after its shutdown timeout: killing it", name, late)
            self.kill()
            await self.wait()

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            self._process.send_signal(number)


def epitaph(code: int) -> str:
    """How a process ended, in words."""
    if code >= 0:
        return f"exited with code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
