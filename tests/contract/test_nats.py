"""The contract, for NATS JetStream."""

import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from anyio import sleep
from anyio.to_thread import run_sync

import chicory_nats.client
from chicory.testing.contract import Harness, TransportContract
from chicory.transport import TransportSettings
from chicory_nats import NatsTransport
from nats_server import NatsServer

_LATE = 0.35
"""Seconds by which the server may be late with what is due: its timer has a floor of 0.25 s."""


class NatsHarness(Harness):
    """A server shared by the tests; each has namespaces of its own."""

    lease = 1.6
    moment = 0.6
    patience = 20.0
    reconnects = True

    def __init__(self, server: NatsServer) -> None:
        super().__init__()
        self.url = server.url
        self.written = 0
        self._server = server

    def make(self, settings: TransportSettings) -> NatsTransport:
        return NatsTransport(settings)

    async def restart(self) -> None:
        self._server.kill()
        await run_sync(self._server.start)

    def round_trips(self) -> int:
        return self.written

    def now(self) -> float:
        return time.time()

    async def advance(self, seconds: float) -> None:
        await sleep(seconds + _LATE)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    with NatsServer(tmp_path_factory.mktemp("nats")) as server:
        yield server


class TestNats(TransportContract):
    @pytest.fixture
    async def harness(
        self, server: NatsServer, monkeypatch: pytest.MonkeyPatch
    ) -> AsyncIterator[Harness]:
        harness = NatsHarness(server)
        write = chicory_nats.client.Client.write

        async def write_and_count(client: chicory_nats.client.Client, commands: bytes) -> None:
            harness.written += 1
            await write(client, commands)

        monkeypatch.setattr(chicory_nats.client.Client, "write", write_and_count)
        async with harness:
            yield harness
