"""The permissions that the documentation asks for are enough."""

import re
from contextlib import suppress
from pathlib import Path

import pytest
import redis
from anyio import create_task_group, fail_after, lowlevel
from servers.redis import RedisServer, binaries, every_version

from chicory.errors import ConfigurationError
from chicory.testing.contract.steps import QUEUE, dead, done, give, message, record, retry, take
from chicory.transport import Lease, Release, Settled, TransportSettings, WorkerRecord
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


def rule(url: str, *rules: str) -> None:
    host, port = url.rpartition("@")[2].split(":")
    with redis.Redis(host, int(port)) as client:
        client.execute_command("ACL", "SETUSER", "shop", *rules)


def deny(url: str, *commands: str) -> None:
    rule(url, *(f"-{name}" for name in commands))


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


@pytest.mark.parametrize("verb", ["renew", "settle", "cancel", "look_up", "counts", "purge"])
async def test_the_denied_command_is_named_where_leases_are_looked_at(url, verb):
    async with RedisTransport(TransportSettings(url=url)) as transport:
        (one,) = await give(transport, "1")
        arguments = {
            "renew": [one.receipt],
            "settle": [done(one)],
            "cancel": [record("1")],
            "look_up": ["1"],
            "counts": [QUEUE],
            "purge": QUEUE,
        }
        deny(url, "xpending")
        with pytest.raises(ConfigurationError, match=r"lacks a permission.*XPENDING: "):
            await getattr(transport, verb)(arguments[verb])


SETTLEMENTS = [
    ("set", lambda one: done(one, b"result")),
    ("publish", lambda one: done(one, b"result")),
    ("zrevrange", dead),
    ("hset", dead),
    ("xadd", retry),
    ("zadd", lambda one: Release(one.receipt, 1e10)),
]


@pytest.mark.parametrize(("command", "settlement"), SETTLEMENTS)
async def test_what_may_not_be_settled_is_settled_once_it_may(url, command, settlement):
    async with RedisTransport(TransportSettings(url=url)) as transport:
        (one,) = await give(transport, "1")
        deny(url, command)
        with pytest.raises(ConfigurationError, match=rf"permission.*{command.upper()}: "):
            await transport.settle([settlement(one)])
        rule(url, f"+{command}")

        assert list(await transport.settle([settlement(one)])) == [Settled.SETTLED]
        if command in {"set", "publish"}:
            (standing,) = await transport.look_up(["1"])
            assert standing.record == b"result"
        elif settlement is dead:
            assert len(await transport.dead_letters()) == 1
        else:
            counts = (await transport.counts([QUEUE]))[QUEUE]
            assert counts.ready + counts.delayed == 1


async def test_a_request_to_cancel_that_may_not_be_forgotten_is_told(url):
    async with RedisTransport(TransportSettings(url=url)) as transport:
        (one,) = await give(transport, "1")
        await transport.cancel([record("1")])
        deny(url, "srem")
        with pytest.raises(ConfigurationError, match=r"permission.*SREM: "):
            await transport.settle([done(one)])


async def test_a_delayed_message_that_may_not_become_ready_is_kept(url, now):
    async with RedisTransport(TransportSettings(url=url)) as transport:
        await transport.publish([message("1", not_before=now + 0.5)])
        deny(url, "xadd")

        async def count() -> None:
            while True:
                await transport.counts([QUEUE])

        with fail_after(60), pytest.raises(ConfigurationError, match=r"permission.*XADD: "):
            await count()
        rule(url, "+xadd")

        assert [one.task_id for one in await take(transport)] == ["1"]


@pytest.mark.parametrize("own", ["", "&{chicory}:c:*"])
async def test_the_permission_for_channels_is_named_at_once(url, own):
    rule(url, "resetchannels", *own.split())
    settings = TransportSettings(url=f"{url}?connect_timeout=600")
    async with RedisTransport(settings) as transport:
        with fail_after(60):
            with pytest.raises(ConfigurationError, match=r"permission.*needs &\{chicory\}:\*: "):
                await transport.watch(["1"], lambda _id, _body: None)
            transport.unwatch(["1"])
            if not own:
                with pytest.raises(ConfigurationError, match=r"needs &\{chicory\}:\*: "):
                    await transport.fetch([QUEUE], 1, 60)
            rule(url, "&{chicory}:*")
            await until_heard(transport)


async def until_heard(transport: RedisTransport) -> None:
    heard: list[str] = []
    while not heard:
        await lowlevel.checkpoint()
        with suppress(ConfigurationError):
            await transport.watch(["2"], lambda task_id, _body: heard.append(task_id))
            await transport.store([record("2")])


async def test_other_namespaces_are_not(url):
    with pytest.raises(ConfigurationError, match="permission"):
        await RedisTransport(TransportSettings(url=url, namespace="theirs")).open()
