import re
from importlib.metadata import entry_points
from typing import get_type_hints

import msgspec
import pytest

from chicory.config import (
    BackendConfig,
    BrokerConfig,
    ChicoryConfig,
    NatsBackendConfig,
    NatsBrokerConfig,
    RedisBackendConfig,
    RedisBrokerConfig,
    SQLiteBackendConfig,
    SQLiteBrokerConfig,
    WorkerConfig,
)
from chicory.discovery import GROUP
from chicory.environment import Section, readers
from chicory.errors import ConfigurationError
from chicory.states import BackendType, BrokerType

TRANSPORTS = {"chicory_sqlite": 1, "chicory_redis": 2, "chicory_nats": 3}

# name of the variable, without CHICORY_: where it is found, two values that it may have and what
# they mean, one that it may not have, and what is accepted (None where any text is)
NUMBER = "a whole number, 1 or more"
AT_ONCE = "a whole number from 1 to 1000000"
POSITIVE = "a number above 0"
NATURAL = "a number, 0 or more"
PORT = "a whole number from 1 to 65535"
URL = "text of 1 character or more"
HOST = "a name or address; a URL goes into url (CHICORY_..._URL)"
NAME = "text of 1 to 255 characters"
VARIABLES = {
    "WORKER_CONCURRENCY": ("worker.concurrency", "3", 3, "7", 7, "0", AT_ONCE),
    "WORKER_QUEUE": ("worker.queue", "a", "a", "b", "b", "", NAME),
    "WORKER_USE_DEAD_LETTER_QUEUE": (
        "worker.use_dead_letter_queue", "false", False, "1", True, "maybe", "true or false",
    ),
    "WORKER_HEARTBEAT_INTERVAL": (
        "worker.heartbeat_interval", "2", 2.0, "2.5", 2.5, "-1", POSITIVE,
    ),
    "WORKER_HEARTBEAT_TTL": ("worker.heartbeat_ttl", "60", 60.0, "70", 70.0, "soon", POSITIVE),
    "WORKER_SHUTDOWN_TIMEOUT": ("worker.shutdown_timeout", "0", 0.0, "5", 5.0, "-1", NATURAL),
    "WORKER_LOG_LEVEL": (
        "worker.log_level", "DEBUG", "DEBUG", "ERROR", "ERROR", "LOUD",
        "one of CRITICAL, DEBUG, ERROR, INFO, WARNING",
    ),
    "WORKER_LOG_FORMAT": (
        "worker.log_format", "json", "json", "text", "text", "xml", "one of json, text",
    ),
    "WORKER_HEALTH_PORT": (
        "worker.health_port", "80", 80, "0", 0, "65536",
        "a whole number from 0 to 65535",
    ),
    "WORKER_HEALTH_HOST": ("worker.health_host", "::", "::", "0.0.0.0", "0.0.0.0", "", NAME),
    "WORKER_MAX_CRASHES": ("worker.max_crashes", "1", 1, "9", 9, "1.5", NUMBER),
    "WORKER_BLOCKED_LOOP_WARNING": (
        "worker.blocked_loop_warning", "2", 2.0, "3", 3.0, "0", POSITIVE,
    ),
    "WORKER_BLOCKED_LOOP_LIMIT": (
        "worker.blocked_loop_limit", "20", 20.0, "30", 30.0, "nan", POSITIVE,
    ),
    "WORKER_MAX_TASKS": ("worker.max_tasks", "5", 5, "6", 6, "0", "a whole number, 1 or more"),
    "WORKER_MAX_MEMORY": ("worker.max_memory", "5", 5, "6", 6, "0", "a whole number, 1 or more"),
    "WORKER_THREADS": ("worker.threads", "5", 5, "6", 6, "0", NUMBER),
    "WORKER_PROCESSES": ("worker.processes", "5", 5, "6", 6, "0", NUMBER),
    "WORKER_MAX_PROCESS_MEMORY": ("worker.max_process_memory", "5", 5, "6", 6, "-1", NUMBER),
    "BROKER_URL": ("broker.url", "memory://a", "memory://a", "x://b", "x://b", "", URL),
    "BACKEND_URL": ("backend.url", "memory://a", "memory://a", "x://b", "x://b", "", URL),
    "BACKEND_RESULT_TTL": ("backend.result_ttl", "60", 60.0, "0.5", 0.5, "0", POSITIVE),
    "NAMESPACE": ("namespace", "a", "a", "b", "b", "n" * 256, NAME),
    "LEASE": ("lease", "5", 5.0, "6", 6.0, "0", "a number from 0.01 to 86400"),
    "VALIDATION_MODE": (
        "validation_mode", "strict", "strict", "none", "none", "all",
        "one of none, inputs, outputs, strict",
    ),
    "DELIVERY_MODE": (
        "delivery_mode", "at_most_once", "at_most_once", "at_least_once", "at_least_once", "once",
        "one of at_least_once, at_most_once",
    ),
    "MAX_MESSAGE_SIZE": ("max_message_size", "10", 10, "20", 20, "1 MiB", NUMBER),
    "RESULT_DEFAULT_TIMEOUT": (
        "result_default_timeout", "0", 0.0, "5", 5.0, "never", NATURAL,
    ),
    "SIGNING_KEYS": ("signing_keys", "a", "a", "b", "b", None, None),
    "SIGNING_REQUIRED": (
        "signing_required", "false", False, "true", True, "perhaps", "true or false",
    ),
} | {
    f"BACKEND_{kind}_RESULT_TTL": (
        f"backend.{kind.lower()}.result_ttl", "60", 60.0, "0.5", 0.5, "0", POSITIVE,
    )
    for kind in ("SQLITE", "REDIS", "NATS")
} | {
    f"{door}_{kind}_{name}": (f"{door.lower()}.{kind.lower()}.{name.lower()}", *values)
    for door in ("BROKER", "BACKEND")
    for kind, fields in {
        "SQLITE": {
            "PATH": ("a.db", "a.db", "b.db", "b.db", None, None),
            "URL": ("sqlite:///a", "sqlite:///a", "sqlite:///b", "sqlite:///b", None, None),
            "SYNCHRONOUS": (
                "full", "full", "off", "off", "sometimes", "one of extra, full, normal, off",
            ),
        },
        "REDIS": {
            "HOST": ("a", "a", "b:1", "b:1", "x://h", HOST),
            "PORT": ("1", 1, "65535", 65535, "65536", PORT),
            "DB": ("0", 0, "3", 3, "-1", "a whole number, 0 or more"),
            "USERNAME": ("a", "a", "b", "b", None, None),
            "PASSWORD": ("a", "a", "b", "b", None, None),
            "SSL": ("true", True, "false", False, "perhaps", "true or false"),
            "SSL_CA_CERTS": ("a", "a", "b", "b", None, None),
            "SSL_CERTFILE": ("a", "a", "b", "b", None, None),
            "SSL_KEYFILE": ("a", "a", "b", "b", None, None),
            "SSL_CERT_REQS": (
                "none", "none", "required", "required", "some", "one of none, required",
            ),
            "CONSUMER_GROUP": ("a", "a", "b", "b", None, None),
            "KEY_PREFIX": ("a:", "a:", "b:", "b:", None, None),
            "URL": ("redis://a", "redis://a", "redis://b", "redis://b", None, None),
        },
        "NATS": {
            "HOST": ("a", "a", "b:1", "b:1", "x://h", HOST),
            "PORT": ("1", 1, "2", 2, "zero", PORT),
            "USERNAME": ("a", "a", "b", "b", None, None),
            "PASSWORD": ("a", "a", "b", "b", None, None),
            "TOKEN": ("a", "a", "b", "b", None, None),
            "CREDENTIALS": ("a", "a", "b", "b", None, None),
            "NKEY": ("a", "a", "b", "b", None, None),
            "TLS": ("1", True, "0", False, "perhaps", "true or false"),
            "TLS_CA": ("a", "a", "b", "b", None, None),
            "TLS_HANDSHAKE_FIRST": ("true", True, "0", False, "auto", "true or false"),
            "REPLICAS": ("3", 3, "5", 5, "2", "one of 1, 3, 5"),
            "STORAGE": ("memory", "memory", "file", "file", "tape", "one of file, memory"),
            "URL": ("nats://a", "nats://a", "nats://b", "nats://b", None, None),
        },
    }.items()
    for name, values in fields.items()
}  # fmt: skip
CASES = [pytest.param(name, *values, id=name) for name, values in VARIABLES.items()]


def at(config: object, path: str) -> object:
    for name in path.split("."):
        config = getattr(config, name)
    return config


def default(path: str) -> object:
    return at(ChicoryConfig(), path)


def section_of(config: object, path: str) -> object:
    return at(config, path.rpartition(".")[0]) if "." in path else config


def leaves(section: type[Section], path: str = "") -> set[str]:
    found: set[str] = set()
    hints = get_type_hints(section)
    for name in section.__struct_fields__:
        hint = hints[name]
        if isinstance(hint, type) and issubclass(hint, Section):
            found |= leaves(hint, f"{path}{name}.")
        else:
            found.add(path + name)
    return found


def test_every_setting_is_in_the_list_above():
    assert leaves(ChicoryConfig) == {values[0] for values in VARIABLES.values()}


@pytest.mark.parametrize(("name", "path", "a", "a_means", "b", "b_means", "bad", "accepted"), CASES)
def test_the_program_is_over_the_environment_over_dotenv_over_the_default(
    monkeypatch, tmp_path, name, path, a, a_means, b, b_means, bad, accepted
):
    variable = f"CHICORY_{name}"
    before = default(path)

    (tmp_path / ".env").write_text(f"{variable}={b}")
    assert at(ChicoryConfig(), path) == b_means  # .env > default

    monkeypatch.setenv(variable, a)
    assert at(ChicoryConfig(), path) == a_means  # environment > .env

    section = type(section_of(ChicoryConfig(), path))
    field = path.rpartition(".")[2]
    assert getattr(section(**{field: b_means}), field) == b_means  # program > environment

    monkeypatch.delenv(variable)
    assert at(ChicoryConfig(), path) == b_means
    (tmp_path / ".env").unlink()
    assert default(path) == before


@pytest.mark.parametrize(("name", "path", "a", "a_means", "b", "b_means", "bad", "accepted"), CASES)
def test_a_file_stands_where_its_variable_would(
    monkeypatch, tmp_path, name, path, a, a_means, b, b_means, bad, accepted
):
    variable = f"CHICORY_{name}"
    (tmp_path / "a").write_text(f"{a}\n")
    (tmp_path / "b").write_text(b)

    (tmp_path / ".env").write_text(f"{variable}_FILE=b")
    assert at(ChicoryConfig(), path) == b_means  # file named in .env > default

    monkeypatch.setenv(variable, a)
    assert at(ChicoryConfig(), path) == a_means  # environment > file named in .env
    monkeypatch.delenv(variable)

    monkeypatch.setenv(f"{variable}_FILE", "a")
    assert at(ChicoryConfig(), path) == a_means  # file named in the environment > the one in .env
    (tmp_path / ".env").write_text(f"{variable}={b}")
    assert at(ChicoryConfig(), path) == a_means  # file named in the environment > .env

    section, field = type(section_of(ChicoryConfig(), path)), path.rpartition(".")[2]
    assert getattr(section(**{field: b_means}), field) == b_means  # program > file

    (tmp_path / ".env").write_text(f"{variable}={a}\n{variable}_FILE=b")
    monkeypatch.delenv(f"{variable}_FILE")
    with pytest.raises(ConfigurationError, match=f"{variable} and {variable}_FILE are both set"):
        ChicoryConfig()


@pytest.mark.parametrize(("name", "path", "a", "a_means", "b", "b_means", "bad", "accepted"), CASES)
def test_a_bad_value_is_named_with_its_variable_and_what_is_accepted(
    monkeypatch, tmp_path, name, path, a, a_means, b, b_means, bad, accepted
):
    if accepted is None:
        return
    expected = rf"^CHICORY_{name}='{re.escape(bad)}': must be {re.escape(accepted)}$"

    monkeypatch.setenv(f"CHICORY_{name}", bad)
    with pytest.raises(ConfigurationError, match=expected):
        ChicoryConfig()
    monkeypatch.delenv(f"CHICORY_{name}")

    (tmp_path / ".env").write_text(f"CHICORY_{name}={bad}")
    with pytest.raises(ConfigurationError, match=expected):
        ChicoryConfig()

    (tmp_path / "bad").write_text(bad)
    (tmp_path / ".env").write_text(f"CHICORY_{name}_FILE=bad")
    with pytest.raises(ConfigurationError, match=expected):
        ChicoryConfig()


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: WorkerConfig(concurrency=0), r"WorkerConfig\(concurrency=0\): must be a whole"),
        (lambda: WorkerConfig(concurrency=10**20), r"WorkerConfig\(concurrency=1000.*must be"),
        (lambda: WorkerConfig(concurrency="3"), r"WorkerConfig\(concurrency='3'\): must be"),
        (lambda: WorkerConfig(concurrency=None), r"WorkerConfig\(concurrency=None\): must be"),
        (lambda: WorkerConfig(use_dead_letter_queue=1), r"must be true or false"),
        (lambda: WorkerConfig(log_level="debug"), r"must be one of CRITICAL, DEBUG"),
        (lambda: ChicoryConfig(worker=3), r"ChicoryConfig\(worker=3\): must be a WorkerConfig"),
        (lambda: ChicoryConfig(worker=BrokerConfig()), r"must be a WorkerConfig"),
        (lambda: ChicoryConfig(broker="redis://h"), r"must be a BrokerConfig"),
    ],
)
def test_a_bad_value_of_the_program_is_named_with_its_setting(make, error):
    with pytest.raises(ConfigurationError, match=error):
        make()


@pytest.mark.parametrize(("interval", "ttl"), [(10, 10), (10, 5), (40, None), (None, 5)])
def test_a_heartbeat_lives_longer_than_the_time_between_two(monkeypatch, interval, ttl):
    settings = {"heartbeat_interval": interval, "heartbeat_ttl": ttl}
    given = {name: value for name, value in settings.items() if value is not None}
    error = r"heartbeat_ttl \(.*CHICORY_WORKER_HEARTBEAT_TTL\) must be more than"

    with pytest.raises(ConfigurationError, match=error):
        WorkerConfig(**given)

    for name, value in given.items():
        monkeypatch.setenv(f"CHICORY_WORKER_{name.upper()}", str(value))
    with pytest.raises(ConfigurationError, match=error):
        WorkerConfig()


# -- addresses ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("section", "address"),
    [
        (SQLiteBrokerConfig(), "sqlite:///chicory.db?synchronous=normal"),
        (SQLiteBrokerConfig(path="/a b/x?.db"), "sqlite:////a%20b/x%3F.db?synchronous=normal"),
        (SQLiteBrokerConfig(url="sqlite:///x", path="y"), "sqlite:///x"),
        (RedisBrokerConfig(), "redis://localhost:6379/0"),
        (RedisBrokerConfig(host="::1", db=2), "redis://[::1]:6379/2"),
        (RedisBrokerConfig(password="p@/:"), "redis://:p%40%2F%3A@localhost:6379/0"),
        (RedisBackendConfig(username="u", password="p"), "redis://u:p@localhost:6379/0"),
        (RedisBrokerConfig(url="rediss://x", host="y"), "rediss://x"),
        (NatsBrokerConfig(), "nats://localhost:4222"),
        (NatsBrokerConfig(host="::1", username="u"), "nats://u:@[::1]:4222"),
    ],
)
def test_a_section_has_an_address(section, address):
    assert section.address == address


@pytest.mark.parametrize("kind", ["REDIS", "NATS"])
@pytest.mark.parametrize("url", ["nats://me:secret@h", "me:secret@h", "h/0", "h?password=secret"])
def test_a_url_for_a_host_is_refused_and_its_login_not_shown(monkeypatch, kind, url):
    monkeypatch.setenv(f"CHICORY_BACKEND_{kind}_HOST", url)
    with pytest.raises(ConfigurationError, match=f"^CHICORY_BACKEND_{kind}_HOST=") as caught:
        ChicoryConfig()

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "host", ["h", "h:1", "10.0.0.1", "::1", "[::1]:1", "fe80::1%eth0", "a, b:1"]
)
def test_a_host_may_be_a_name_or_an_address_with_a_port(host):
    assert NatsBrokerConfig(host=host).host == RedisBrokerConfig(host=host).host == host


def test_the_broker_s_url_wins_over_the_embedded_default():
    assert BrokerConfig().address(None) == SQLiteBrokerConfig().address
    assert BrokerConfig(url="memory://x").address(None) == "memory://x"
    assert BrokerConfig(url="memory://x").address(BrokerType.REDIS) == "redis://localhost:6379/0"


@pytest.mark.parametrize("kind", BrokerType)
def test_every_broker_with_a_name_has_an_address(kind):
    broker = BrokerConfig().address(kind)
    backend = BackendConfig().address(BackendType(kind.value))

    assert broker.startswith(f"{kind.value}://")
    assert backend == broker


def test_a_program_may_pass_a_whole_tree():
    config = ChicoryConfig(
        broker=BrokerConfig(redis=RedisBrokerConfig(host="a")),
        backend=BackendConfig(redis=RedisBackendConfig(db=1)),
        worker=WorkerConfig(concurrency=2),
    )

    assert config.broker.address(BrokerType.REDIS) == "redis://a:6379/0"
    assert config.backend.address(BackendType.REDIS) == "redis://localhost:6379/1"
    assert msgspec.structs.replace(config, lease=3.0).worker.concurrency == 2


# -- how long results are kept ------------------------------------------------------------


@pytest.mark.parametrize("server", ["sqlite", "redis", "nats"])
def test_the_ttl_of_a_kind_of_server_wins_over_the_general_one(monkeypatch, server):
    url = f"{server}://h"
    assert BackendConfig().ttl(url) == 86_400

    general = BackendConfig(result_ttl=60)
    assert general.ttl(url) == 60
    assert general.ttl("memory://") == 60

    monkeypatch.setenv(f"CHICORY_BACKEND_{server.upper()}_RESULT_TTL", "5")
    special = BackendConfig(result_ttl=60)
    assert special.ttl(url) == 5
    assert special.ttl("memory://") == 60
    assert special.ttl("other://h") == 60


def test_every_scheme_of_ours_has_settings_of_its_kind():
    ours = {one.name: one.module for one in entry_points(group=GROUP) if one.module in TRANSPORTS}
    backend = BackendConfig(
        sqlite=SQLiteBackendConfig(result_ttl=1),
        redis=RedisBackendConfig(result_ttl=2),
        nats=NatsBackendConfig(result_ttl=3),
    )

    assert {scheme: backend.ttl(f"{scheme}://h") for scheme in ours} == {
        scheme: TRANSPORTS[module] for scheme, module in ours.items()
    }


def test_signing_keys_come_from_a_file_and_are_shown_nowhere(monkeypatch, tmp_path):
    secret = "s" * 40
    path = tmp_path / "keys"
    path.write_text(f"2026-11:{secret}\n2026-05:{secret}\n")
    monkeypatch.setenv("CHICORY_SIGNING_KEYS_FILE", str(path))

    config = ChicoryConfig()

    assert config.signing_keys == path.read_text().rstrip("\n")
    assert secret not in repr(config)
    assert "signing_keys='***'" in repr(config)
    assert readers(ChicoryConfig)["signing_keys"].is_secret
    assert not readers(ChicoryConfig)["signing_required"].is_secret
    with pytest.raises(ConfigurationError) as raised:
        ChicoryConfig(signing_keys=[secret])
    assert secret not in str(raised.value)
