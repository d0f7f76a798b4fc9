"""Redis Cluster, whose slots move, and Sentinel, which makes another server the master."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from types import SimpleNamespace

import anyio
import pytest
import redis
from anyio import create_task_group, fail_after
from servers.redis import RedisServer, binaries
from servers.redis_cluster import cluster, move_slot, raw, sentinel

from chicory.errors import ConfigurationError
from chicory.testing.contract.steps import (
    QUEUE,
    Heard,
    await_some,
    count,
    dead,
    done,
    give,
    ids,
    message,
    record,
    retry,
    take,
)
from chicory.transport import Counts, Lease, Settled, TransportSettings
from chicory_redis import RedisTransport

pytestmark = pytest.mark.faults

PATIENCE = 60.0
PATIENT = SimpleNamespace(patience=PATIENCE)
NAMESPACES = [f"namespace {number}" for number in range(6)]


@pytest.fixture(scope="module", params=list(binaries()))
def nodes(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[RedisServer]]:
    with cluster(binaries()[request.param], tmp_path_factory.mktemp("cluster")) as nodes:
        yield nodes


@pytest.fixture
def fresh(nodes):
    yield
    for node in nodes:
        node.command("FLUSHALL")


def transport_at(server: RedisServer, namespace: str) -> RedisTransport:
    return RedisTransport(TransportSettings(url=server.url, namespace=namespace))


def slot_of(namespace: str, node: RedisServer) -> int:
    return int(raw(node, "CLUSTER", "KEYSLOT", f"{{{namespace}}}"))


def owner_of(slot: int, nodes: list[RedisServer]) -> RedisServer:
    spans = nodes[0].command("CLUSTER", "SLOTS")
    (port,) = [master[1] for first, last, master, *_ in spans if first <= slot <= last]
    return next(node for node in nodes if node.port == port)


async def until(condition: Callable[[], object]) -> None:
    with fail_after(PATIENCE):
        while not condition():  # noqa: ASYNC110  (of a server, which tells nobody)
            await anyio.sleep(0.005)


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("namespace", NAMESPACES)
async def test_a_namespace_works_whichever_node_it_lives_on(nodes, namespace):
    async with (
        transport_at(nodes[0], namespace) as here,
        transport_at(nodes[1], namespace) as there,
    ):
        heard = Heard(PATIENT)
        await here.watch(["1"], heard)
        one, two, three = await give(there, "1", "2", "3")

        follow_ups = [message("4", queue="next", unique="key")]
        await here.settle([done(one, b"result", follow_ups), retry(two), dead(three)])

        await heard.until_hearing("1", b"result")
        assert ids(await take(there, queues=[QUEUE, "next"])) == ["2", "4"]
        assert ids(await here.dead_letters()) == ["3"]
        assert (await there.look_up(["1"]))[0].record == b"result"
        assert await here.workers() == []
        assert [one.id for one in await there.find_dead(["letter 3"]) if one] == ["letter 3"]


@pytest.mark.usefixtures("fresh")
async def test_namespaces_spread_over_the_nodes(nodes):
    owners = {owner_of(slot_of(name, nodes[0]), nodes).port for name in NAMESPACES}

    assert len(owners) > 1


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("namespace", NAMESPACES[:3])
async def test_a_fetch_that_waits_is_woken_on_another_node(nodes, namespace):
    fetched: list[str] = []
    settings = TransportSettings(url=nodes[0].url, namespace=namespace, lease=4 * PATIENCE)
    async with RedisTransport(settings) as here, transport_at(nodes[1], namespace) as there:

        async def fetch() -> None:
            fetched.extend(ids(await await_some(PATIENT, here)))

        async with create_task_group() as group:
            group.start_soon(fetch)
            owner = owner_of(slot_of(namespace, nodes[0]), nodes)
            await until(lambda: owner.command("EXISTS", f"{{{namespace}}}:z:q"))
            await there.publish([message("1")])

    assert fetched == ["1"]


@pytest.mark.usefixtures("fresh")
async def test_messages_leases_and_waits_follow_a_slot_that_moves(nodes):
    namespace = NAMESPACES[0]
    slot = slot_of(namespace, nodes[0])
    source = owner_of(slot, nodes)
    target = next(node for node in nodes if node is not source)
    heard, fetched = Heard(PATIENT), list[str]()
    async with transport_at(source, namespace) as here, transport_at(target, namespace) as there:
        (leased,) = await give(here, "leased")
        await here.watch(["watched"], heard)

        async def fetch() -> None:
            fetched.extend(ids(await await_some(PATIENT, here)))

        async with create_task_group() as group:
            group.start_soon(fetch)
            await until(lambda: source.command("EXISTS", f"{{{namespace}}}:z:q"))
            await anyio.to_thread.run_sync(move_slot, slot, source, target)
            await there.publish([message("published")])

        assert fetched == ["published"]
        assert list(await here.renew([leased.receipt])) == [Lease.HELD]
        assert list(await here.settle([done(leased)])) == [Settled.SETTLED]
        await there.store([record("watched", b"result")])
        await heard.until_hearing("watched", b"result")


@pytest.mark.usefixtures("fresh")
async def test_a_fetch_whose_slot_has_moved_is_woken_by_what_comes(nodes):
    namespace = NAMESPACES[0]
    slot = slot_of(namespace, nodes[0])
    source = owner_of(slot, nodes)
    target = next(node for node in nodes if node is not source)
    settings = TransportSettings(url=source.url, namespace=namespace, lease=4 * PATIENCE)
    fetched = list[str]()
    async with RedisTransport(settings) as here, transport_at(target, namespace) as there:

        async def fetch() -> None:
            fetched.extend(ids(await here.fetch([QUEUE], 1, PATIENCE)))

        async with create_task_group() as group:
            group.start_soon(fetch)
            await until(lambda: source.command("EXISTS", f"{{{namespace}}}:z:q"))
            await anyio.to_thread.run_sync(move_slot, slot, source, target)
            await there.publish([message("1")])
            with fail_after(PATIENCE / 3):  # by itself it looks after 30 s
                while not fetched:  # noqa: ASYNC110  (of a server, which tells nobody)
                    await anyio.sleep(0.005)

    assert fetched == ["1"]


@pytest.fixture
def endpoints(nodes, fresh):
    """Sets what the nodes call each other; before Redis 7 it is their addresses."""

    def tell(kind: str) -> None:
        with suppress(redis.ResponseError):
            for node in nodes:
                node.command("CONFIG", "SET", "cluster-preferred-endpoint-type", kind)

    yield tell
    tell("ip")


@pytest.mark.parametrize("namespace", NAMESPACES[:3])
async def test_a_node_that_is_named_without_its_host_is_at_that_of_who_names_it(
    nodes, endpoints, namespace
):
    endpoints("unknown-endpoint")
    for node in nodes:
        async with transport_at(node, namespace) as transport:
            await transport.publish([message(f"by way of {node.port}")])

    async with transport_at(nodes[0], namespace) as transport:
        assert await count(transport) == Counts(ready=len(nodes))


@pytest.mark.parametrize(
    "nodes", [version for version in binaries() if not version.startswith("6.")], indirect=True
)
async def test_where_the_nodes_know_no_names_of_each_other_it_is_said_so(nodes, endpoints):
    endpoints("hostname")
    namespace = NAMESPACES[0]
    owner = owner_of(slot_of(namespace, nodes[0]), nodes)
    other = next(node for node in nodes if node is not owner)
    words = f"{other.port} does not tell the host .*set cluster-announce-hostname"

    with pytest.raises(ConfigurationError, match=words):
        await transport_at(other, namespace).open()


@pytest.mark.parametrize("version", list(binaries()))
async def test_a_worker_goes_on_with_the_server_that_sentinel_promotes(tmp_path, version):
    binary = binaries()[version]
    for name in ("master", "replica"):
        (tmp_path / name).mkdir()
    master = RedisServer(binary, tmp_path / "master")
    replica = RedisServer(binary, tmp_path / "replica")
    with master, replica, sentinel(binary, tmp_path, master, "shop") as port:
        replica.command("REPLICAOF", "127.0.0.1", master.port)
        url = f"redis+sentinel://127.0.0.1:1,127.0.0.1:{port}/shop"
        async with RedisTransport(TransportSettings(url=url)) as transport:
            (leased,) = await give(transport, "leased")
            await until(lambda: raw(replica, "INFO", "replication").count(b"link_status:up"))
            await until(lambda: master.command("WAIT", 1, 1000) == 1)
            await until(lambda: b"slave0" in raw(master, "INFO", "replication"))
            await until(lambda: knows_replica(port))

            master.kill()
            await until(lambda: b"role:master" in raw(replica, "INFO", "replication"))

            await transport.publish([message("after")])
            assert list(await transport.settle([done(leased)])) == [Settled.SETTLED]
            assert ids(await take(transport)) == ["after"]
            assert await count(transport) == Counts(leased=1)


def knows_replica(port: int) -> bool:
    with redis.Redis(port=port, protocol=2) as client:
        return bool(client.execute_command("SENTINEL", "REPLICAS", "shop"))
