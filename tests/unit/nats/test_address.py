"""URLs."""

from __future__ import annotations

import pytest

from chicory.config import NatsBackendConfig, NatsBrokerConfig
from chicory.errors import ConfigurationError
from chicory.transport import TransportSettings
from chicory_nats import NatsTransport
from chicory_nats.address import parse


def test_the_port_may_be_left_out():
    assert parse("nats://host").servers == ("nats://host:4222",)


def test_several_servers_are_tried_in_their_order():
    assert parse("nats://a,b:5000,[::1]").servers == (
        "nats://a:4222",
        "nats://b:5000",
        "nats://[::1]:4222",
    )


def test_user_and_password_are_percent_decoded():
    address = parse("nats://me%40home:p%3Aw%2F@host")

    assert (address.user, address.password, address.token) == ("me@home", "p:w/", None)


def test_a_login_without_a_colon_is_a_token():
    address = parse("nats://s3cret@host")

    assert (address.user, address.token) == (None, "s3cret")


def test_the_scheme_may_ask_for_tls():
    address = parse("tls://host")

    assert address.tls
    assert address.servers == ("tls://host:4222",)
    assert "tls" in address.options()


def test_options_are_read(tmp_path):
    seed = tmp_path / "seed"
    seed.write_text("")

    address = parse(f"nats://host?replicas=3&storage=memory&domain=hub&nkey={seed}")

    assert (address.replicas, address.storage, address.domain) == (3, "memory", "hub")
    assert address.options() == {"nkeys_seed": str(seed)}


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("redis://host", "redis"),
        ("nats:host", "nats://host"),
        ("nats://", "names no server"),
        ("nats://host/path", "too much"),
        ("nats://host:port", "host:port"),
        ("nats://a,,b", "''"),
        ("nats://host?replicas=2", "replicas='2'"),
        ("nats://host?tls_handshake_first=1", "accepted are true, false"),
        ("nats://host?storage=tape", "storage='tape'"),
        ("nats://host?speed=1", "no option 'speed'"),
        ("nats://host?replicas=1&replicas=3", "twice"),
        ("nats://host?credentials=/no/such/file", "No such file"),
    ],
)
def test_what_is_wrong_is_named(url, named):
    with pytest.raises(ConfigurationError) as raised:
        NatsTransport(TransportSettings(url=url))

    assert named in str(raised.value)


@pytest.mark.parametrize(
    "url",
    [
        "nats://u:hidden@host/x",
        "nats://u:hid#hidden@host",
        "nats://u:hid/hidden@host",
        "nats://hid?hidden@host",
        "nats://hidden@:",
        "nats://u:hidden@",
        "nats://u:hidden@[x",
        "nats://u:hidden@[x]",
        "nats://u:hidden\u2100@x",
    ],
)
def test_no_error_shows_a_secret(url):
    with pytest.raises(ConfigurationError) as raised:
        parse(url)

    assert "hidden" not in str(raised.value)
    assert raised.value.__context__ is None


@pytest.mark.parametrize("mark", "/?#")
def test_of_a_password_that_must_be_escaped_it_is_said_so(mark):
    words = r"^'nats://\*\*\*@host' has an @ after its host: .*percent-encode"
    with pytest.raises(ConfigurationError, match=words):
        parse(f"nats://u:hid{mark}den@host")


def test_an_address_is_shown_without_its_login():
    assert str(parse("nats://u:hidden@a,b")) == "nats://a:4222, nats://b:4222"


@pytest.mark.parametrize("kind", [NatsBrokerConfig, NatsBackendConfig])
def test_a_configuration_makes_a_url_that_says_the_same(kind, tmp_path):
    creds = tmp_path / "my creds"
    creds.write_text("")
    config = kind(
        host="a,b:5000",
        port=4000,
        username="me@home",
        password="p:w",
        credentials=str(creds),
        replicas=3,
        storage="memory",
    )

    address = parse(config.address)

    assert address.servers == ("nats://a:4000", "nats://b:5000")
    assert (address.user, address.password) == ("me@home", "p:w")
    assert (address.credentials, address.replicas, address.storage) == (str(creds), 3, "memory")


def test_a_configured_token_is_the_login_and_is_not_shown():
    config = NatsBrokerConfig(token="s3/cret", tls=True)

    assert parse(config.address).token == "s3/cret"
    assert config.address.startswith("tls://")
    assert "cret" not in repr(config)


def test_the_handshake_comes_first_where_that_is_configured():
    config = NatsBrokerConfig(tls_handshake_first=True)

    assert parse(config.address).options()["tls_handshake_first"] is True
    assert "tls" in parse(config.address).options()
    assert "tls_handshake_first" not in parse(NatsBrokerConfig().address).options()


def test_the_environment_sets_what_is_not_given(monkeypatch):
    monkeypatch.setenv("CHICORY_BROKER_NATS_REPLICAS", "5")
    monkeypatch.setenv("CHICORY_BACKEND_NATS_STORAGE", "memory")

    assert parse(NatsBrokerConfig().address).replicas == 5
    assert parse(NatsBackendConfig().address).storage == "memory"


def test_a_number_of_replicas_that_no_stream_can_have_is_refused(monkeypatch):
    monkeypatch.setenv("CHICORY_BROKER_NATS_REPLICAS", "2")

    with pytest.raises(ConfigurationError, match="REPLICAS"):
        NatsBrokerConfig()
