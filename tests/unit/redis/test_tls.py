"""TLS: the server is who it says it is, or there is no connection."""

import ssl

import pytest
import trustme
from servers.proxy import Proxy

from chicory.errors import BrokerConnectionError
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
