"""What a Redis URL says, and what is said of a wrong one."""

import pytest

from chicory import Chicory, ChicoryConfig
from chicory.config import BrokerConfig, RedisBackendConfig, RedisBrokerConfig
from chicory.errors import ConfigurationError
from chicory.states import BrokerType
from chicory_redis.address import Address, Node, Tls, parse


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://", Address()),
        ("redis://localhost", Address()),
        ("redis://example.org:7000/3", Address(nodes=(Node("example.org", 7000),), db=3)),
        ("redis://:se%2Fcret@h/", Address(nodes=(Node("h"),), password="se/cret")),
        ("redis://me:a%40b@h", Address(nodes=(Node("h"),), username="me", password="a@b")),
        ("redis://[::1]:6380", Address(nodes=(Node("::1", 6380),))),
        ("redis://h?key_prefix=a@b", Address(nodes=(Node("h"),), key_prefix="a@b")),
        ("unix:///run/a@b", Address(nodes=(Node(""),), path="/run/a@b")),
        ("rediss://h", Address(nodes=(Node("h"),), tls=Tls())),
        (
            "rediss://h?ssl_ca_certs=/ca.pem&ssl_certfile=/c.pem&ssl_keyfile=/k.pem",
            Address(nodes=(Node("h"),), tls=Tls("/ca.pem", "/c.pem", "/k.pem")),
        ),
        ("rediss://h?ssl_cert_reqs=none", Address(nodes=(Node("h"),), tls=Tls(verify=False))),
        ("unix:///run/redis.sock", Address(nodes=(Node(""),), path="/run/redis.sock")),
        (
            "unix://me:pw@/s?db=2",
            Address(nodes=(Node(""),), path="/s", db=2, username="me", password="pw"),
        ),
        (
            "redis+sentinel://me:pw@a,b:7000/shop/1?sentinel_password=sp",
            Address(
                nodes=(Node("a", 26379), Node("b", 7000)),
                service="shop",
                db=1,
                username="me",
                password="pw",
                sentinel_password="sp",
            ),
        ),
        (
            "rediss+sentinel://[::1]:7000/shop",
            Address(nodes=(Node("::1", 7000),), service="shop", tls=Tls()),
        ),
        (
            "redis://h?connect_timeout=1&answer_timeout=2.5&key_prefix=app:&consumer_group=g",
            Address(
                nodes=(Node("h"),),
                connect_timeout=1,
                answer_timeout=2.5,
                key_prefix="app:",
                consumer_group="g",
            ),
        ),
    ],
)
def test_it_is_read(url, address):
    assert parse(url) == address


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://h", "is not a Redis URL: write redis://"),
        ("redis://h:port", "is no valid host or port"),
        ("redis://h:70000", "is no valid host or port"),
        ("redis://h/name", "'name' is no Redis database: write its number, such as /0"),
        ("redis://h/-1", "'-1' is no Redis database"),
        ("redis://h#f", "is not a Redis URL"),
        ("redis://h?nope=1", "there is no option 'nope'; accepted are answer_timeout"),
        ("redis://h?ssl_ca_certs=/ca", "there is no option 'ssl_ca_certs'"),
        ("redis://h?key_prefix=a&key_prefix=b", "an option is given twice"),
        ("redis://h?key_prefix={a}", "braces decide on Redis Cluster's slots"),
        ("redis://h?consumer_group=a'b", "accepted are letters, digits"),
        ("redis://h?answer_timeout=soon", "answer_timeout='soon' is wrong; accepted are seconds"),
        ("redis://h?connect_timeout=0", "connect_timeout='0' is wrong"),
        ("rediss://h?ssl_cert_reqs=maybe", "accepted are required, none"),
        ("redis+sentinel://h", "names no service"),
        ("redis+sentinel://h,h:x/shop", "'h:x' is no valid host or port"),
        ("redis://h?sentinel_password=x", "there is no option 'sentinel_password'"),
        ("unix://", "names no socket"),
        ("unix://host/s", "names no socket"),
    ],
)
def test_what_is_wrong_is_named(url, reason):
    with pytest.raises(ConfigurationError) as caught:
        parse(url)

    assert reason in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis://me:s3cret@h?nope=1",
        "http://me:s3cret@h",
        "unix://me:s3cret@h/s",
        "redis://me:s3cret@[::1",
        "redis://me:s3cret@[x]",
        "redis://me:s3cret\u2100@h",
    ],
)
def test_errors_tell_no_secret(url):
    with pytest.raises(ConfigurationError) as caught:
        parse(url)

    assert "s3cret" not in str(caught.value)
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    "url",
    [
        "redis://:s3#cret@h/0",
        "redis://me:s3/cret@h:6379/0",
        "redis://me:12/s3cret@h:6379/0",
        "redis://me:s3cret?x@h/0",
        "redis://me:s3cret?x=1@h/0",
        "redis://me:s3@/cret@h/0",
        "redis+sentinel://me:s3/cret@h/shop",
        "unix://me:s3/cret@/run/redis.sock",
        "unix://me:s3?cret@/run/redis.sock",
    ],
)
def test_a_password_that_must_be_escaped_is_not_shown_and_it_is_said_so(url):
    with pytest.raises(ConfigurationError, match="percent-encode it: %2F") as caught:
        parse(url)

    assert str(caught.value).startswith(f"'{url.partition(':')[0]}://***@")
    assert not any(part in str(caught.value) for part in ("s3", "cret", "12"))
    assert caught.value.__context__ is None


def test_an_address_is_shown_without_secrets():
    assert str(parse("redis://me:s3cret@h:7000/1")) == "Redis at h:7000"
    sentinels = parse("redis+sentinel://me:s3cret@a,b/shop?sentinel_password=s3cret")
    assert str(sentinels) == "Redis 'shop' of the sentinels at a:26379,b:26379"
    assert str(parse("unix://me:s3cret@/run/redis.sock")) == "Redis at /run/redis.sock"


@pytest.mark.parametrize("scheme", ["redis", "rediss", "redis+sentinel"])
def test_an_app_finds_the_transport_by_the_scheme(scheme):
    app = Chicory(f"{scheme}://127.0.0.1:1/0")

    assert type(app.broker_link.template).__name__ == "RedisTransport"


def test_an_app_finds_the_transport_by_its_name():
    redis = RedisBrokerConfig(host="h", port=7000, db=2, password="p@ss")
    app = Chicory(BrokerType.REDIS, config=ChicoryConfig(broker=BrokerConfig(redis=redis)))

    assert parse(app.broker_url) == Address(nodes=(Node("h", 7000),), db=2, password="p@ss")


@pytest.mark.parametrize("kind", [RedisBrokerConfig, RedisBackendConfig])
def test_settings_become_the_address(kind):
    config = kind(
        host="h",
        ssl=True,
        ssl_ca_certs="/my ca.pem",
        ssl_cert_reqs="none",
        key_prefix="a&b:",
        consumer_group="workers",
    )

    assert parse(config.address) == Address(
        nodes=(Node("h"),),
        tls=Tls(ca_certs="/my ca.pem", verify=False),
        key_prefix="a&b:",
        consumer_group="workers",
    )


def test_settings_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("CHICORY_BROKER_REDIS_SSL", "true")
    monkeypatch.setenv("CHICORY_BROKER_REDIS_KEY_PREFIX", "shop:")

    assert RedisBrokerConfig().address == "rediss://localhost:6379/0?key_prefix=shop%3A"


@pytest.mark.parametrize("host", ["h:7000", "[::1]:7000"])
def test_a_host_may_have_a_port_of_its_own(monkeypatch, host):
    monkeypatch.setenv("CHICORY_BROKER_REDIS_HOST", host)

    assert parse(RedisBrokerConfig().address).nodes == (Node(host[:-5].strip("[]"), 7000),)


def test_default_settings_are_the_plain_address():
    assert RedisBrokerConfig().address == "redis://localhost:6379/0"
