"""Servers of a run's own, as processes on free loopback ports."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from chicory.errors import ConfigurationError

PATIENCE = 60.0
_GLANCE = 0.01


def free_port() -> int:
    """A loopback port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def await_that(condition: Callable[[], object], what: str) -> None:
    """Look until it is so. Raises ``RuntimeError(what)`` where it is not within ``PATIENCE``.

    Who is asked and does not answer, as a server that changes its role may not, is asked again.
    """
    end = time.monotonic() + PATIENCE
    while not _is_so(condition):
        if time.monotonic() > end:
            raise RuntimeError(what)
        time.sleep(_GLANCE)


def _is_so(condition: Callable[[], object]) -> bool:
    try:
        return bool(condition())
    except OSError:
        return False


class Server:
    """A process that is started, killed and started again.

    Args:
        command: the program and its arguments.
        folder: where its log goes.
        port: where it listens.
        greeting: what is sent to see whether it answers, and how its answer begins.
    """

    def __init__(
        self, command: Sequence[str], folder: Path, port: int, greeting: tuple[bytes, bytes]
    ) -> None:
        self._command = command
        self._log = folder / "server.log"
        self._port = port
        self._greeting = greeting
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and return once it answers."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603  (a program found by its name)
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        end = time.monotonic() + PATIENCE
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > end:
                said = self._log.read_text(errors="replace")[-2000:]
                raise ConfigurationError(f"{self._command[0]} does not start:\n{said}")
            time.sleep(_GLANCE)

    def kill(self) -> None:
        """End it without a warning."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """Have it stand still (SIGSTOP): connections to it stay open, and nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Have it go on, with all that it believed before."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def _answers(self) -> bool:
        question, answer = self._greeting
        try:
            with socket.create_connection(("127.0.0.1", self._port), timeout=1) as line:
                line.sendall(question)
                return line.recv(100).startswith(answer)
        except OSError:
            return False
