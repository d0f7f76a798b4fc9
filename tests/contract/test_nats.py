"""The contract, for NATS JetStream."""

from collections.abc import AsyncIterator, Iterator

import pytest
from anyio import sleep
from anyio.to_thread import run_sync
from servers.nats import NatsServer

import chicory_nats.client
from chicory.testing.contract import Harness, TransportContract
from chicory.testing.contract.harness import RealTimeHarness
from chicory.transport import TransportSettings
from chicory_nats import NatsTransport


class NatsHarness(RealTimeHarness):
    """A server shared by the tests; each has namespaces of its own.

    Its timer for what is due has a floor of 0.25 s.
    """

    lease = 1.0
    moment = 0.4
    lateness = 0.35
    patience = 20.0
    reconnects = True

    def __init__(self, server: NatsServer) -> None:
        super().__init__()
        self.url = server.url
        self.port = server.port
        self.written = 0
        self._server = server

    def make(self, settings: TransportSettings) -> NatsTransport:
        return NatsTransport(settings)

    async def restart(self) -> None:
        self._server.kill()
        await run_sync(self._server.start)

    async def settle_down(self) -> None:
        seen = -1
        while seen != self.written:
            seen = self.written
            await sleep(0.2)

    def round_trips(self) -> int:
        return self.written


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
