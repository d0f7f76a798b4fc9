"""TLS: the server is who it says it is and the connection is encrypted, or there is none."""

from __future__ import annotations

import pytest
import trustme
from anyio import Event, fail_after
from servers.nats import NatsServer
from servers.proxy import Proxy

from chicory.errors import BrokerConnectionError, ConfigurationError
from chicory.testing.contract.steps import Heard, give, ids, message, record, take
from chicory.transport import TransportSettings
from chicory_nats import NatsTransport


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def files(authority, tmp_path_factory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("tls")
    server, client = authority.issue_cert("localhost"), authority.issue_cert("worker@localhost")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    server.cert_chain_pems[0].write_to_path(folder / "server.pem")
    server.private_key_pem.write_to_path(folder / "server.key")
    client.cert_chain_pems[0].write_to_path(folder / "client.pem")
    client.private_key_pem.write_to_path(folder / "client.key")
    return {path.name: str(path) for path in folder.iterdir()}


def _tls(files: dict[str, str], more: str = "") -> str:
    return (
        f'tls {{ cert_file: "{files["server.pem"]}", key_file: "{files["server.key"]}", '
        f'ca_file: "{files["ca.pem"]}", {more} }}'
    )


@pytest.fixture(scope="module")
def encrypted(files, tmp_path_factory):
    with NatsServer(tmp_path_factory.mktemp("nats"), extra=_tls(files)) as server:
        yield server


def _transport(url: str) -> NatsTransport:
    return NatsTransport(TransportSettings(url=url))


class _Patience:
    patience = 60.0


@pytest.mark.parametrize("scheme", ["tls", "nats"])
async def test_a_server_with_a_certificate_of_a_private_authority_is_used(
    encrypted, files, namespace, scheme
):
    url = f"{scheme}://localhost:{encrypted.port}?tls_ca={files['ca.pem']}"
    async with NatsTransport(TransportSettings(url=url, namespace=namespace)) as transport:
        heard = Heard(_Patience())
        await transport.watch(["1"], heard)
        await transport.publish([message("1", body=bytes(300_000))])
        await transport.store([record("1", b"result")])

        assert ids(await take(transport)) == ["1"]
        await heard.until_hearing("1", b"result")


async def test_a_server_of_an_unknown_authority_is_refused(encrypted):
    with pytest.raises(BrokerConnectionError, match="certificate is refused"):
        await _transport(f"tls://localhost:{encrypted.port}").open()


async def test_the_next_server_is_tried_at_once_where_one_is_refused(
    encrypted, files, tmp_path, monkeypatch
):
    monkeypatch.setattr("chicory_nats.connecting._TIMEOUT", 60)  # which nobody waits for
    with fail_after(30), NatsServer(tmp_path) as plain:
        bad = f"127.0.0.1:{encrypted.port},localhost:{plain.port}"
        url = f"tls://{bad},localhost:{encrypted.port}?tls_ca={files['ca.pem']}"
        async with _transport(url) as transport:
            await transport.ping()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ("tls_ca={client.key}", "tls_ca='.*/client.key': the file cannot be used"),
        ("tls_ca={ca.pem}&tls_cert={ca.pem}", "tls_cert='.*/ca.pem': the file cannot be used"),
        (
            "tls_ca={ca.pem}&tls_cert={client.pem}&tls_key={server.key}",
            "tls_cert, or tls_key='.*/client.pem': the file cannot be used: KEY_VALUES_MISMATCH",
        ),
    ],
)
async def test_a_file_that_cannot_be_used_is_named(encrypted, files, options, named):
    for name, path in files.items():
        options = options.replace(f"{{{name}}}", path)

    with pytest.raises(ConfigurationError, match=named):
        await _transport(f"tls://localhost:{encrypted.port}?{options}").open()


async def test_a_connection_that_ends_is_no_warning_of_asyncio(files, tmp_path, caplog):
    with NatsServer(tmp_path, extra=_tls(files)) as server:
        url = f"tls://localhost:{server.port}?tls_ca={files['ca.pem']}"
        async with _transport(url) as transport:
            down = Event()
            transport._open.session.connection.on_down(down.set)
            server.kill()
            with fail_after(30):
                await down.wait()

    assert [one for one in caplog.records if one.name == "asyncio"] == []


async def test_a_server_of_another_name_is_refused(encrypted, files):
    with pytest.raises(BrokerConnectionError, match="mismatch"):
        await _transport(f"tls://127.0.0.1:{encrypted.port}?tls_ca={files['ca.pem']}").open()


@pytest.mark.parametrize("form", ["tls://me:secret@{}", "nats://me:secret@{}?tls_ca={}"])
async def test_a_server_without_tls_is_told_no_password(server, files, form):
    heard: list[bytes] = []
    with Proxy(server.port) as proxy:
        proxy.listen(heard.append)
        url = form.format(f"127.0.0.1:{proxy.port}", files["ca.pem"])
        with pytest.raises(BrokerConnectionError, match="offers no TLS"):
            await _transport(url).open()

    assert b"secret" not in b"".join(heard)


async def test_a_server_that_only_offers_tls_is_held_to_it(files, tmp_path):
    with NatsServer(tmp_path, extra=_tls(files) + "\nallow_non_tls: true") as server:
        with pytest.raises(BrokerConnectionError, match="certificate is refused"):
            await _transport(f"tls://localhost:{server.port}").open()
        url = f"tls://localhost:{server.port}?tls_ca={files['ca.pem']}"
        async with _transport(url) as transport:
            await transport.ping()


async def test_a_client_shows_its_certificate_where_one_is_wanted(files, tmp_path):
    with NatsServer(tmp_path, extra=_tls(files, "verify: true")) as server:
        url = f"tls://localhost:{server.port}?tls_ca={files['ca.pem']}"
        with pytest.raises(BrokerConnectionError, match="give tls_cert and tls_key"):
            await _transport(url).open()
        with pytest.raises(BrokerConnectionError, match="certificate is refused"):
            await _transport(f"tls://localhost:{server.port}").open()
        shown = f"&tls_cert={files['client.pem']}&tls_key={files['client.key']}"
        async with _transport(url + shown) as transport:
            await transport.ping()


@pytest.mark.parametrize("scheme", ["tls", "nats"])
async def test_a_server_that_wants_the_handshake_first_gets_it(files, tmp_path, scheme):
    extra = _tls(files, "handshake_first: true")
    with NatsServer(tmp_path, extra=extra, speaks_first=False) as server:
        options = f"tls_ca={files['ca.pem']}&tls_handshake_first=true"
        async with _transport(f"{scheme}://localhost:{server.port}?{options}") as transport:
            await give(transport, "1")
        with pytest.raises(BrokerConnectionError, match="certificate is refused"):
            await _transport(f"{scheme}://localhost:{server.port}?tls_handshake_first=true").open()


async def test_a_server_that_wants_no_handshake_first_is_told_no_password(server):
    heard: list[bytes] = []
    with Proxy(server.port) as proxy:
        proxy.listen(heard.append)
        url = f"nats://me:secret@127.0.0.1:{proxy.port}?tls_handshake_first=true"
        with pytest.raises(BrokerConnectionError, match="TLS failed"):
            await _transport(url).open()

    assert b"secret" not in b"".join(heard)
