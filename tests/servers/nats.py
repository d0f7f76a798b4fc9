"""A real nats-server for tests: a process of their own on a free port of this machine."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from pathlib import Path
from typing import Self

from chicory.testing.programs import newest


class NatsServer:
    """Started and ended by its handle; keeps its store over ``kill`` and ``start``."""

    def __init__(
        self,
        folder: Path,
        *,
        jetstream: bool = True,
        room: str | None = None,
        extra: str = "",
        max_payload: int = 8 << 20,
        speaks_first: bool = True,
    ) -> None:
        self._greeting = b"INFO" if speaks_first else b""
        self.port = free_port()
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self._settings = f"max_payload: {max_payload}\n{extra}\n"
        limit = f", max_file_store: {room}" if room else ""
        store = f'jetstream {{ store_dir: "{folder / "store"}"{limit} }}' if jetstream else ""
        self._configure(store)

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return (self._folder / "log").read_text()

    def until_logged(self, text: str) -> None:
        """Wait until it has written a text."""
        end = time.monotonic() + 60
        while text not in self.log:
            if time.monotonic() > end:
                raise TimeoutError(f"not logged: {text}\n{self.log[-5000:]}")
            time.sleep(0.01)

    def start(self) -> None:
        """Run it, and wait until it takes connections."""
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [_binary(), "-c", str(self._folder / "server.conf")],
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        end = time.monotonic() + 20
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"nats-server does not start:\n{self.log}")
            time.sleep(0.01)

    def switch_jetstream_off(self) -> None:
        """Have it come back without JetStream when it is started next."""
        self._configure("")

    def kill(self) -> None:
        """End it without a warning."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def _configure(self, store: str) -> None:
        (self._folder / "server.conf").write_text(
            f'listen: "127.0.0.1:{self.port}"\n{self._settings}{store}\n'
        )

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                return connection.recv(len(self._greeting)) == self._greeting
        except OSError:
            return False


class NatsCluster:
    """Servers that know each other."""

    def __init__(self, folder: Path, size: int = 3) -> None:
        ports = [free_port() for _ in range(size)]
        routes = ", ".join(f'"nats://127.0.0.1:{port}"' for port in ports)
        self.servers = [
            NatsServer(
                folder / str(number),
                extra=f"server_name: n{number}\n"
                f'cluster {{ name: test, listen: "127.0.0.1:{port}", routes: [{routes}] }}',
            )
            for number, port in enumerate(ports)
        ]

    @property
    def hosts(self) -> str:
        return ",".join(f"127.0.0.1:{server.port}" for server in self.servers)

    def __enter__(self) -> Self:
        for server in self.servers:
            server.start()
        return self

    def __exit__(self, *_: object) -> None:
        for server in self.servers:
            server.kill()


def _binary() -> str:
    """The one that ``NATS_SERVER`` names, else the newest one at hand."""
    return os.environ.get("NATS_SERVER") or str(newest("nats-server").path)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
