"""The permissions that the documentation asks for are enough."""

import re
from pathlib import Path

import pytest
import redis
from anyio import create_task_group, fail_after, lowlevel
from servers.redis import RedisServer, binaries, every_version

from chicory.errors import ConfigurationError
from chicory.testing.contract.steps import QUEUE, dead, done, give, message, record, take
from chicory.transport import Lease, TransportSettings, WorkerRecord
from chicory_redis import RedisTransport

PAGE = Path(__file__).parents[3] / "docs" / "redis.md"
RULE = re.search(r"^    (ACL SETUSER shop on >password .+)$", PAGE.read_text(), re.MULTILINE)


@pytest.fixture(params=every_version())
def url(request: pytest.FixtureRequest, tmp_path):
    assert RULE is not None
    with RedisServer(binaries()[request.param], tmp_path) as server:
        server.command(*RULE[1].split())
        yield server.url.replace("://", "://shop:password@")


async def test_all_verbs_are_permitted(url, now):
    async with RedisTransport(TransportSettings(url=url)) as transport:
        await transport.ping()
        one, two, three = await give(transport, "1", "2", "3")
        await transport.watch(["1"], lambda _id, _body: None)
        assert list(await transport.renew([one.receipt])) == [Lease.HELD]
        await transport.settle([done(one, b"", [message("4", unique="k")]), dead(two), dead(three)])
        await transport.publish([message("5", not_before=now + 100)])
        await transport.cancel([record("5"), record("4")])
        await transport.look_up(["1"])
        await transport.find_dead(["letter 2"])
        await transport.replay([("letter 2", message("2"))])
        await transport.discard(["letter 3"])
        await transport.dead_letters()
        await transport.counts()
        await transport.set_paused(QUEUE, paused=True)
        await transport.set_paused(QUEUE, paused=False)
        await transport.beat(WorkerRecord("w", (), b""), 10)
        await transport.workers()
        await transport.purge(QUEUE)
        await transport.purge(QUEUE, dead=True)
        assert await take(transport) == []


async def test_waiting_and_orphans_are_permitted(url):
    async with (
        RedisTransport(TransportSettings(url=url, lease=0.1)) as here,
        RedisTransport(TransportSettings(url=url, lease=60)) as there,
    ):
        await give(here, "1")
        fetched: list[int] = []

        async def fetch() -> None:
            while len(fetched) < 2:
                fetched.extend(one.deliveries for one in await there.fetch([QUEUE], 1, 60))

        with fail_after(60):
            async with create_task_group() as group:
                group.start_soon(fetch)
                while not fetched:
                    await lowlevel.checkpoint()
                await here.publish([message("2")])

        assert fetched == [2, 1]


async def test_messages_may_be_handed_over(url):
    async with (
        RedisTransport(TransportSettings(url=url, lease=60)) as here,
        RedisTransport(TransportSettings(url=url, lease=60)) as there,
    ):
        with fail_after(60):
            async with create_task_group() as group:
                group.start_soon(there.fetch, [QUEUE], 1, 60)
                fetching = there._client._fetching
                while fetching._asking or not any(there._client._waiting.registered()):
                    await lowlevel.checkpoint()
                calls = there.calls
                await here.publish([message("1")])

        assert there.calls == calls


def deny(url: str, *commands: str) -> None:
    host, port = url.rpartition("@")[2].split(":")
    with redis.Redis(host, int(port)) as client:
        client.execute_command("ACL", "SETUSER", "shop", *(f"-{name}" for name in commands))


async def test_the_denied_command_is_named_where_a_message_is_handed_over(url):
    settings = TransportSettings(url=url, lease=60)
    async with RedisTransport(settings) as here, RedisTransport(settings) as there:
        with fail_after(60):
            async with create_task_group() as group:
                group.start_soon(there.fetch, [QUEUE], 1, 60)
                fetching = there._client._fetching
                while fetching._asking or not any(there._client._waiting.registered()):
                    await lowlevel.checkpoint()
                deny(url, "xreadgroup")
                with pytest.raises(ConfigurationError, match=r"lacks a permission.*\(XREADGROUP: "):
                    await here.publish([message("1")])
                group.cancel_scope.cancel()


@pytest.mark.parametrize("command", ["xreadgroup", "xpending", "xgroup", "zadd"])
async def test_the_denied_command_is_named_where_messages_are_fetched(url, command):
    async with RedisTransport(TransportSettings(url=url)) as transport:
        await transport.publish([message("1")])
        deny(url, command)
        with pytest.raises(ConfigurationError, match=rf"permission.*\({command.upper()}: "):
            await transport.fetch([QUEUE], 1, 0)


async def test_other_namespaces_are_not(url):
    with pytest.raises(ConfigurationError, match="permission"):
        await RedisTransport(TransportSettings(url=url, namespace="theirs")).open()
