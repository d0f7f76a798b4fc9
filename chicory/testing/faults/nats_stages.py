"""NATS, under faults."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeAlias
from urllib.request import urlopen

from anyio import to_thread

from chicory.testing.faults.disk import OnDisk
from chicory.testing.faults.servers import Server, await_that, free_port
from chicory.testing.faults.stage import Death, Harm, Stage
from chicory.testing.programs import Program, newest

_Act: TypeAlias = Callable[[Server], None]

_STREAM = "CHICORY_chicory"
_TIMEOUT = 3.0
"""Seconds; where nobody leads, nobody answers."""


def program() -> Program:
    """The newest nats-server."""
    return newest("nats-server")


def server(folder: Path, port: int, more: str = "") -> Server:
    """A nats-server that keeps its data in a folder."""
    settings = folder / "server.conf"
    settings.write_text(
        f'listen: "127.0.0.1:{port}"\nmax_payload: 8388608\n'
        f"jetstream {{ store_dir: {json.dumps(str(folder / 'store'))} }}\n{more}"
    )
    command = [str(program().path), "-c", str(settings)]
    return Server(command, folder, port, (b"", b"INFO"))


def ask(port: int, request: str) -> dict[str, Any]:
    """What JetStream's API answers."""
    subject = f"$JS.API.{request}"
    with socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT) as line:
        line.sendall(
            b'CONNECT {"verbose":false}\r\nSUB answers 1\r\n'
            + f"PUB {subject} answers 0\r\n\r\n".encode()
        )
        with line.makefile("rb") as lines:
            for said in lines:
                if said.startswith(b"MSG "):
                    return json.loads(lines.read(int(said.split()[-1])))
    raise RuntimeError(f"{subject}: no answer")


class NatsStage(Stage):
    """A nats-server with file storage, which writes down later whom it has delivered what."""

    forgets_leases = True

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.software = str(program())
        self.port = free_port()
        self._server: Server | None = None

    def url(self, port: int | None) -> str:
        """The server, or its proxy."""
        return f"nats://127.0.0.1:{port or self.port}"

    def start(self) -> None:
        """Start the server."""
        self._server = self._server or server(self.folder, self.port or 0)
        self._server.start()

    def kill(self) -> None:
        """Kill the server."""
        if self._server is not None:
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
        return ask(self.port or 0, request)


class NatsDiskStage(OnDisk, NatsStage):
    """On a small disk, which fills up: JetStream stops, and is restarted."""


class NatsClusterStage(Stage):
    """Three servers, each with a copy of the stream."""

    forgets_leases = True

    def __init__(self, folder: Path, size: int = 3) -> None:
        super().__init__(folder)
        self.software = str(program())
        self._ports = [free_port() for _ in range(size)]
        self._monitors = [free_port() for _ in range(size)]
        own = [free_port() for _ in range(size)]
        routes = ", ".join(f'"nats://127.0.0.1:{port}"' for port in own)
        self._servers: list[Server] = []
        for number, port in enumerate(self._ports):
            home = folder / str(number)
            home.mkdir()
            more = (
                f"server_name: n{number}\n"
                f'http: "127.0.0.1:{self._monitors[number]}"\n'
                f'cluster {{ name: c, listen: "127.0.0.1:{own[number]}", routes: [{routes}] }}\n'
            )
            self._servers.append(server(home, port, more))
        self._dead = 0

    def url(self, port: int | None) -> str:
        """All of them."""
        assert port is None
        hosts = ",".join(f"127.0.0.1:{each}" for each in self._ports)
        return f"nats://{hosts}?replicas={len(self._ports)}"

    def start(self) -> None:
        """Start them, and return when they have a leader."""
        for each in self._servers:
            each.start()
        await_that(self._answers, "the servers have no leader")

    def kill(self) -> None:
        """Kill them."""
        for each in self._servers:
            each.kill()

    def deaths(self) -> Mapping[str, Death]:
        """That of the server that leads the stream, or of one that follows; or a leader's pause."""
        return {
            "leader killed": self._death(0, Server.kill, Server.start),
            "follower killed": self._death(1, Server.kill, Server.start),
            "leader stands still": self._death(0, Server.stop, Server.resume),
        }

    def _death(self, after: int, die: _Act, return_: _Act) -> Death:
        """Of the server so many places after the leader."""
        strike = partial(self._lose, after, die)
        return Death(
            partial(to_thread.run_sync, strike),
            partial(to_thread.run_sync, partial(self._regain, return_)),
        )

    def _lose(self, after: int, die: _Act) -> None:
        leader = int(self._leader(self._ports[0])[1:])
        self._dead = (leader + after) % len(self._servers)
        die(self._servers[self._dead])
        await_that(self._all_lead, "nobody leads the stream, or one of its consumers")

    def _regain(self, return_: _Act) -> None:
        return_(self._servers[self._dead])
        await_that(self._is_whole, "a server that is back does not catch up")

    def _answers(self) -> bool:
        return "error" not in ask(self._ports[0], "INFO")

    def _all_lead(self) -> bool:
        """Whether the stream and all its consumers have a leader that is not dead."""
        alive, gone = self._ports[self._dead - 1], f"n{self._dead}"
        if self._leader(alive) in {"", gone}:
            return False
        consumers = ask(alive, f"CONSUMER.LIST.{_STREAM}")
        known: list[dict[str, Any]] = consumers.get("consumers") or []
        leaders = [each.get("cluster", {}).get("leader", "") for each in known]
        return len(known) == consumers.get("total") and not {"", gone} & set(leaders)

    def _leader(self, port: int) -> str:
        return self._group(port).get("leader", "")

    def _is_whole(self) -> bool:
        """Whether the one that is back has all that the others have.

        Its leader calls a replica current that has noted what there is and has yet to fetch it;
        what the replica says of its own health is what counts.
        """
        replicas = self._group(self._ports[self._dead]).get("replicas", [])
        return (
            len(replicas) == len(self._ports) - 1
            and all(each["current"] and not each.get("offline") for each in replicas)
            and self._is_healthy()
        )

    def _is_healthy(self) -> bool:
        address = f"http://127.0.0.1:{self._monitors[self._dead]}/healthz"
        with urlopen(address, timeout=_TIMEOUT) as answer:
            return answer.status == HTTPStatus.OK

    @staticmethod
    def _group(port: int) -> dict[str, Any]:
        return ask(port, f"STREAM.INFO.{_STREAM}").get("cluster") or {}
