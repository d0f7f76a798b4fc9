"""TLS: the server is who it says it is, or there is no connection."""

import ssl

import pytest
import trustme
from anyio import create_task_group, fail_after, lowlevel
from servers.proxy import Proxy

from chicory.errors import BrokerConnectionError, ConfigurationError
from chicory.testing.contract.steps import ids, message, take
from chicory.transport import TransportSettings
from chicory_redis import RedisTransport


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def proxy(server, authority):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    with Proxy(server.port, context) as proxy:
        yield proxy


@pytest.fixture
def trusted(authority, tmp_path) -> str:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return str(path)


def transport_at(url: str) -> RedisTransport:
    return RedisTransport(TransportSettings(url=url))


async def test_a_server_that_is_trusted_is_used(proxy, trusted):
    url = f"rediss://localhost:{proxy.port}?ssl_ca_certs={trusted}"
    async with transport_at(url) as transport:
        await transport.publish([message("1")])

        assert ids(await take(transport)) == ["1"]


async def test_one_that_is_not_is_refused(proxy):
    with pytest.raises(BrokerConnectionError, match="certificate verify failed"):
        await transport_at(f"rediss://localhost:{proxy.port}").open()


async def test_one_of_another_name_is_refused(proxy, trusted):
    url = f"rediss://127.0.0.1:{proxy.port}?ssl_ca_certs={trusted}"

    with pytest.raises(BrokerConnectionError, match="certificate verify failed"):
        await transport_at(url).open()


async def test_the_check_can_be_switched_off(proxy):
    async with transport_at(f"rediss://127.0.0.1:{proxy.port}?ssl_cert_reqs=none") as transport:
        await transport.ping()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ("ssl_ca_certs=/no/such/file", "ssl_ca_certs='/no/such/file': .* No such file"),
        ("ssl_ca_certs={key}", "ssl_ca_certs='.*key.pem': .* NO_CERTIFICATE_OR_CRL_FOUND"),
        ("ssl_ca_certs={ca}&ssl_certfile={ca}", "ssl_certfile='.*ca.pem': the file cannot be used"),
        (
            "ssl_ca_certs={ca}&ssl_certfile={ca}&ssl_keyfile={key}",
            "ssl_certfile='.*ca.pem', or ssl_keyfile='.*key.pem': the file cannot be used: KEY_V",
        ),
    ],
)
async def test_a_file_that_cannot_be_used_is_named(
    proxy, authority, trusted, tmp_path, options, named
):
    key = tmp_path / "key.pem"
    authority.issue_cert("x").private_key_pem.write_to_path(key)

    url = f"rediss://localhost:{proxy.port}?{options.format(ca=trusted, key=key)}"

    with pytest.raises(ConfigurationError, match=named):
        await transport_at(url).open()


async def test_a_key_needs_its_certificate():
    with pytest.raises(ConfigurationError, match="ssl_keyfile needs ssl_certfile"):
        transport_at("rediss://localhost?ssl_keyfile=/a")


async def test_a_file_that_is_gone_for_a_moment_is_waited_for(proxy, trusted, tmp_path):
    url = f"rediss://localhost:{proxy.port}?ssl_ca_certs={trusted}"
    async with transport_at(url) as transport:
        hidden = (tmp_path / "ca.pem").rename(tmp_path / "hidden")
        wire = transport._client._wire
        wire.cut(ConnectionError("a test's"))
        with fail_after(60):
            async with create_task_group() as group:
                group.start_soon(transport.publish, [message("1")])
                while wire._failure is None:
                    await lowlevel.checkpoint()
                hidden.rename(tmp_path / "ca.pem")

        assert ids(await take(transport)) == ["1"]
