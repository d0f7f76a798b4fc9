"""The contract, for Redis: on every version of the server that is at hand."""

from collections.abc import AsyncIterator, Iterator

import anyio
import pytest
from servers.redis import RedisServer, binaries, every_version

from chicory.testing.contract import Harness, TransportContract
from chicory.testing.contract.harness import RealTimeHarness
from chicory.transport import TransportSettings
from chicory_redis import RedisTransport


class RedisHarness(RealTimeHarness):
    """A real server, whose time cannot be moved: so leases and delays are short."""

    lease = 1.0
    moment = 0.3
    reconnects = True

    def __init__(self, server: RedisServer) -> None:
        super().__init__()
        self.url = server.url
        self.port = server.port
        self._server = server
        self._made: list[RedisTransport] = []

    def make(self, settings: TransportSettings) -> RedisTransport:
        self._made.append(RedisTransport(settings))
        return self._made[-1]

    async def restart(self) -> None:
        await anyio.to_thread.run_sync(self._server.restart)

    def round_trips(self) -> int:
        return sum(transport.calls for transport in self._made)


@pytest.fixture(scope="session", params=every_version())
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RedisServer]:
    folder = tmp_path_factory.mktemp("redis")
    with RedisServer(binaries()[request.param], folder) as server:
        yield server


class TestRedis(TransportContract):
    @pytest.fixture
    async def harness(self, server: RedisServer) -> AsyncIterator[Harness]:
        async with RedisHarness(server) as harness:
            yield harness
        server.command("FLUSHALL")
