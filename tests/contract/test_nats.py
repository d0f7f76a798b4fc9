"""The contract, for NATS JetStream."""

from collections.abc import AsyncIterator, Iterator

import pytest
from anyio.to_thread import run_sync
from servers.nats import NatsServer
from servers.nats_harness import NatsHarness

from chicory.testing.contract import Harness, TransportContract


class ServerHarness(NatsHarness):
    """One server, whose timer for what is due has a floor of 0.25 s."""

    lease = 1.0
    moment = 0.4
    lateness = 0.35
    glance = 0.2

    def __init__(self, server: NatsServer) -> None:
        super().__init__(server.url)
        self.port = server.port
        self._server = server

    async def restart(self) -> None:
        self._server.kill()
        await run_sync(self._server.start)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    with NatsServer(tmp_path_factory.mktemp("nats")) as server:
        yield server


class TestNats(TransportContract):
    @pytest.fixture
    async def harness(
        self, server: NatsServer, monkeypatch: pytest.MonkeyPatch
    ) -> AsyncIterator[Harness]:
        harness = ServerHarness(server)
        harness.count_writes(monkeypatch)
        async with harness:
            yield harness
