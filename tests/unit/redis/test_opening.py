"""What is found out when a transport is opened, and how it is said."""

import logging

import anyio
import pytest
from servers.redis import free_port

from chicory.errors import BrokerConnectionError, ConfigurationError
from chicory.testing.contract.steps import ids, message, take
from chicory.transport import TransportSettings
from chicory_redis import RedisTransport
from chicory_redis.address import parse
from chicory_redis.inspection import check_version

ADDRESS = parse("redis://h:7000")


def transport_at(url: str) -> RedisTransport:
    return RedisTransport(TransportSettings(url=url))


async def test_a_server_that_is_not_there_is_named():
    port = free_port()

    with pytest.raises(BrokerConnectionError, match=f"Redis at 127.0.0.1:{port} cannot be reached"):
        await transport_at(f"redis://127.0.0.1:{port}").open()


async def test_a_socket_that_is_not_there_is_named(tmp_path):
    with pytest.raises(BrokerConnectionError, match=r"no\.sock cannot be reached"):
        await transport_at(f"unix://{tmp_path}/no.sock").open()


async def test_a_transport_that_could_not_open_can_be_opened_later(tmp_path, own_server):
    own_server.kill()
    transport = transport_at(own_server.url)
    with pytest.raises(BrokerConnectionError):
        await transport.open()

    own_server.start()

    async with transport:
        await transport.ping()


async def test_a_socket_will_do(own_server, tmp_path):
    async with transport_at(f"unix://{tmp_path}/redis.sock?db=1") as transport:
        await transport.publish([message("1")])

        assert ids(await take(transport)) == ["1"]
    assert own_server.command("DBSIZE") == 0


async def test_databases_are_kept_apart(make, server):
    async with make("/1") as one, make("/2") as two:
        await one.publish([message("1")])

        assert await take(two) == []
        assert ids(await take(one)) == ["1"]
    server.command("FLUSHALL")


async def test_key_prefixes_are_kept_apart(make):
    async with make("?key_prefix=a:") as one, make("?key_prefix=b:") as two:
        await one.publish([message("1")])

        assert await take(two) == []
        assert ids(await take(one)) == ["1"]


@pytest.mark.parametrize("own_server", [("--requirepass", "s3cret")], indirect=True)
@pytest.mark.parametrize("login", ["", ":wrong@", "who:s3cret@"])
async def test_a_login_that_is_refused_is_named_without_its_password(own_server, login):
    url = own_server.url.replace("://", f"://{login}")

    with pytest.raises(ConfigurationError, match="refuses the login") as caught:
        await transport_at(url).open()

    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("own_server", [("--requirepass", "s3cret")], indirect=True)
async def test_a_login_is_used(own_server):
    async with transport_at(own_server.url.replace("://", "://:s3cret@")) as transport:
        await transport.ping()


async def test_a_missing_permission_is_named(own_server):
    own_server.command(
        "ACL", "SETUSER", "me", "on", ">pw", "~*", "&*", "+@all", "-evalsha", "-eval"
    )
    async with transport_at(own_server.url.replace("://", "://me:pw@")) as transport:
        with pytest.raises(ConfigurationError, match=r"lacks a permission; docs/redis\.md"):
            await transport.publish([message("1")])


@pytest.mark.parametrize("version", ["6.0.16", "5.0.14", "2.8.0"])
def test_an_old_server_is_refused(version):
    with pytest.raises(ConfigurationError, match=f"is version {version}: chicory needs Redis 6.2"):
        check_version(ADDRESS, version)


@pytest.mark.parametrize("version", ["6.2.14", "7.0.15", "8.2.1", "10.0.0", "", "unheard of"])
def test_a_newer_one_or_one_that_does_not_say_is_not(version):
    check_version(ADDRESS, version)


async def test_messages_as_an_older_chicory_kept_them_are_refused(make, server):
    server.command("HSET", "{chicory}:m", "1", "1700000000000-0 q")
    words = r"holds messages under \{chicory\} as an older chicory kept them"
    with pytest.raises(ConfigurationError, match=words):
        await make().open()

    async with make(namespace="another") as transport:
        await transport.ping()


@pytest.mark.parametrize(
    "own_server",
    [("--maxmemory", "50mb", "--maxmemory-policy", "allkeys-lru")],
    indirect=True,
)
async def test_a_server_that_would_delete_queues_is_refused(own_server):
    with pytest.raises(ConfigurationError, match=r"maxmemory-policy allkeys-lru.*noeviction"):
        await transport_at(own_server.url).open()


@pytest.mark.parametrize(
    "own_server",
    [("--maxmemory", "50mb", "--maxmemory-policy", "volatile-ttl")],
    indirect=True,
)
async def test_one_that_would_delete_results_is_warned_of(own_server, caplog):
    async with transport_at(own_server.url):
        pass

    (warning,) = [one for one in caplog.records if one.levelno == logging.WARNING]
    assert "maxmemory-policy volatile-ttl" in warning.getMessage()


@pytest.mark.parametrize("own_server", [("--maxclients", "1")], indirect=True)
async def test_a_server_without_a_free_connection_is_named(own_server):
    first = transport_at(own_server.url)
    with anyio.fail_after(60):
        while True:  # the connection that asked whether the server is up may still be open
            try:
                await first.open()
                break
            except BrokerConnectionError:
                await anyio.lowlevel.checkpoint()

    async with first:
        with pytest.raises(BrokerConnectionError, match="max number of clients reached"):
            await transport_at(own_server.url).open()
