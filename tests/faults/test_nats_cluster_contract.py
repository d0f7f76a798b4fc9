"""The contract, for NATS JetStream with three replicas, where news arrive in no order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress

import nats
import pytest
from anyio import fail_after
from anyio.to_thread import run_sync
from servers.nats import NatsCluster
from servers.nats_harness import NatsHarness

from chicory.errors import BrokerConnectionError
from chicory.testing.contract import Harness
from chicory.testing.contract.dead_letters import DeadLettersContract
from chicory.testing.contract.delay import DelayContract
from chicory.testing.contract.fetch import FetchContract
from chicory.testing.contract.lease import LeaseContract
from chicory.testing.contract.order import OrderContract
from chicory.testing.contract.publish import PublishContract
from chicory.testing.contract.rescue import RescueContract
from chicory.testing.contract.restart import RestartContract
from chicory.testing.contract.retry import RetryContract
from chicory.testing.contract.settle import SettleContract
from chicory.testing.contract.unique import UniqueContract
from chicory.testing.contract.watch import WatchContract


class ClusterHarness(NatsHarness):
    """Three servers, of which each takes its time to hear what the others have stored."""

    lease = 2.0
    moment = 0.8
    lateness = 0.6
    patience = 40.0
    glance = 0.5

    def __init__(self, cluster: NatsCluster) -> None:
        super().__init__(f"nats://{cluster.hosts}?replicas=3")
        self._cluster = cluster

    async def restart(self) -> None:
        for server in self._cluster.servers:
            server.kill()
        for server in self._cluster.servers:
            await run_sync(server.start)
        with fail_after(self.patience):
            await self._until_answered()

    async def _until_answered(self) -> None:
        """Wait until the cluster has elected who leads the stream."""
        while True:
            with suppress(BrokerConnectionError):
                async with self.make(self.settings()) as transport:
                    await transport.look_up(["nobody"])
                    return


def delete_streams(cluster: NatsCluster) -> None:
    """Have the next test find no groups that elect leaders, write and beat for the last ones."""
    asyncio.run(_delete_streams(cluster.hosts))


async def _delete_streams(hosts: str) -> None:
    client = await nats.connect([f"nats://{host}" for host in hosts.split(",")])
    jetstream = client.jetstream(timeout=20)
    for stream in await jetstream.streams_info():
        await jetstream.delete_stream(str(stream.config.name))
    await client.close()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsCluster]:
    with NatsCluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.mark.anyio
class TestNatsCluster(
    PublishContract,
    FetchContract,
    OrderContract,
    LeaseContract,
    SettleContract,
    RetryContract,
    RescueContract,
    DelayContract,
    UniqueContract,
    DeadLettersContract,
    WatchContract,
    RestartContract,
):
    """The promises that replication could break; all of them would take ten minutes.

    Each on one event loop: with one server all of them are kept on both.
    """

    @pytest.fixture
    def anyio_backend(self, request: pytest.FixtureRequest) -> str:
        return ("asyncio", "trio")[len(request.function.__name__) % 2]

    @pytest.fixture
    async def harness(
        self, cluster: NatsCluster, monkeypatch: pytest.MonkeyPatch
    ) -> AsyncIterator[Harness]:
        harness = ClusterHarness(cluster)
        harness.count_writes(monkeypatch)
        async with harness:
            yield harness
        await run_sync(delete_streams, cluster)
