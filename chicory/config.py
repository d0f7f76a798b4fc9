"""The settings of an app and of its workers.

Precedence: command line, then what the program passes, then environment, then ``.env`` in the
current folder, then the defaults below.
"""

from __future__ import annotations

import os
from typing import Annotated, Literal
from urllib.parse import quote, urlencode

import msgspec
from msgspec import Meta

from chicory.environment import Section, setting
from chicory.errors import ConfigurationError
from chicory.logs import LogFormat
from chicory.states import BackendType, BrokerType, DeliveryMode, ValidationMode
from chicory.transport import DEFAULT_LEASE

PositiveInt = Annotated[int, Meta(ge=1)]
Count = Annotated[int, Meta(ge=0)]
Seconds = Annotated[float, Meta(ge=0)]
PositiveSeconds = Annotated[float, Meta(gt=0)]
Port = Annotated[int, Meta(ge=1, le=65535)]
Name = Annotated[str, Meta(min_length=1, max_length=255)]
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]
Synchronous = Literal["off", "normal", "full", "extra"]
CertReqs = Literal["required", "none"]

Replicas = Literal[1, 3, 5]
Storage = Literal["file", "memory"]

_KINDS = {
    "sqlite": BackendType.SQLITE,
    "nats": BackendType.NATS,
    "tls": BackendType.NATS,
    **dict.fromkeys(
        ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel"), BackendType.REDIS
    ),
}
"""Whose settings are meant by a URL's scheme."""

DEFAULT_CONCURRENCY = min(32, (os.cpu_count() or 1) + 4)
MEBIBYTE = 1 << 20
_CONSUMER_GROUP = "chicory"


class WorkerConfig(Section, kw_only=True):
    """Settings of a worker process; ``CHICORY_WORKER_<FIELD>``.

    Attributes:
        concurrency: tasks that run at once.
        queue: the queue consumed.
        use_dead_letter_queue: keep exhausted calls as dead letters. What cannot be run at all
            is kept always.
        heartbeat_interval: seconds between heartbeats.
        heartbeat_ttl: seconds after which a silent worker counts as dead.
        shutdown_timeout: seconds that running tasks get to finish.
        log_level: of what ``chicory worker`` logs on stderr.
        log_format: of its lines: for people, or one JSON object each.
        max_crashes: deliveries that may end with the death of their worker.
        blocked_loop_warning: seconds; a task that blocks the event loop for longer is reported
            with its stack.
        blocked_loop_limit: seconds; a worker blocked for longer gives up its leases.
        max_tasks: tasks after which a worker process ends; under a supervisor a new one follows.
        max_memory: MiB of resident memory, likewise.
    """

    concurrency: PositiveInt = setting("WORKER_CONCURRENCY", PositiveInt, DEFAULT_CONCURRENCY)
    queue: Name = setting("WORKER_QUEUE", Name, "default")
    use_dead_letter_queue: bool = setting("WORKER_USE_DEAD_LETTER_QUEUE", bool, True)  # noqa: FBT003
    heartbeat_interval: PositiveSeconds = setting(
        "WORKER_HEARTBEAT_INTERVAL", PositiveSeconds, 10.0
    )
    heartbeat_ttl: PositiveSeconds = setting("WORKER_HEARTBEAT_TTL", PositiveSeconds, 30.0)
    shutdown_timeout: Seconds = setting("WORKER_SHUTDOWN_TIMEOUT", Seconds, 30.0)
    log_level: LogLevel = setting("WORKER_LOG_LEVEL", LogLevel, "INFO")
    log_format: LogFormat = setting("WORKER_LOG_FORMAT", LogFormat, "text")
    max_crashes: PositiveInt = setting("WORKER_MAX_CRASHES", PositiveInt, 3)
    blocked_loop_warning: PositiveSeconds = setting(
        "WORKER_BLOCKED_LOOP_WARNING", PositiveSeconds, 1.0
    )
    blocked_loop_limit: PositiveSeconds = setting(
        "WORKER_BLOCKED_LOOP_LIMIT", PositiveSeconds, 300.0
    )
    max_tasks: PositiveInt | None = setting("WORKER_MAX_TASKS", PositiveInt, None)
    max_memory: PositiveInt | None = setting("WORKER_MAX_MEMORY", PositiveInt, None)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.heartbeat_ttl <= self.heartbeat_interval:
            raise ConfigurationError(
                f"heartbeat_ttl ({self.heartbeat_ttl:g} s, CHICORY_WORKER_HEARTBEAT_TTL) must be "
                f"more than heartbeat_interval ({self.heartbeat_interval:g} s, "
                "CHICORY_WORKER_HEARTBEAT_INTERVAL)"
            )


class _SQLiteConfig(Section, kw_only=True):
    path: str
    url: str | None
    synchronous: Synchronous

    @property
    def address(self) -> str:
        """The URL of the database."""
        return self.url or f"sqlite:///{quote(self.path)}?synchronous={self.synchronous}"


class _RedisConfig(Section, kw_only=True):
    host: str
    port: int
    db: int
    username: str | None
    password: str | None
    ssl: bool
    ssl_ca_certs: str | None
    ssl_certfile: str | None
    ssl_keyfile: str | None
    ssl_cert_reqs: CertReqs
    consumer_group: str
    key_prefix: str
    url: str | None

    @property
    def address(self) -> str:
        """The URL of the server."""
        if self.url:
            return self.url
        login = _login(self.username, self.password)
        options = {"key_prefix": self.key_prefix}
        if self.consumer_group != _CONSUMER_GROUP:
            options["consumer_group"] = self.consumer_group
        if self.ssl:
            options |= {
                "ssl_ca_certs": self.ssl_ca_certs or "",
                "ssl_certfile": self.ssl_certfile or "",
                "ssl_keyfile": self.ssl_keyfile or "",
                "ssl_cert_reqs": "" if self.ssl_cert_reqs == "required" else self.ssl_cert_reqs,
            }
        query = urlencode({name: value for name, value in options.items() if value})
        scheme = "rediss" if self.ssl else "redis"
        address = f"{scheme}://{login}{_host(self.host)}:{self.port}/{self.db}"
        return f"{address}?{query}" if query else address


class _NatsConfig(Section, kw_only=True):
    host: str
    port: int
    username: str | None
    password: str | None
    token: str | None
    credentials: str | None
    nkey: str | None
    tls: bool
    tls_ca: str | None
    replicas: Replicas
    storage: Storage
    url: str | None

    @property
    def address(self) -> str:
        """The URL of the servers."""
        if self.url:
            return self.url
        scheme, login = "tls" if self.tls else "nats", _login(self.username, self.password)
        if self.token is not None:
            login = f"{quote(self.token, safe='')}@"
        hosts = ",".join(_server(host, self.port) for host in self.host.split(","))
        options = {
            "credentials": self.credentials,
            "nkey": self.nkey,
            "tls_ca": self.tls_ca,
            "replicas": self.replicas if self.replicas > 1 else None,
            "storage": self.storage if self.storage != "file" else None,
        }
        query = urlencode({name: value for name, value in options.items() if value is not None})
        return f"{scheme}://{login}{hosts}{'?' + query if query else ''}"


def _server(host: str, port: int) -> str:
    """A host that may have a port of its own."""
    return host if host.count(":") == 1 or "]:" in host else f"{_host(host)}:{port}"


def _login(username: str | None, password: str | None) -> str:
    if username is None and password is None:
        return ""
    return f"{quote(username or '', safe='')}:{quote(password or '', safe='')}@"


def _host(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host  # IPv6


class SQLiteBrokerConfig(_SQLiteConfig, kw_only=True):
    """The embedded broker; ``CHICORY_BROKER_SQLITE_<FIELD>``."""

    path: str = setting("BROKER_SQLITE_PATH", str, "chicory.db")
    url: str | None = setting("BROKER_SQLITE_URL", str, None)
    synchronous: Synchronous = setting("BROKER_SQLITE_SYNCHRONOUS", Synchronous, "normal")


class SQLiteBackendConfig(_SQLiteConfig, kw_only=True):
    """The embedded result backend; ``CHICORY_BACKEND_SQLITE_<FIELD>``.

    Attributes:
        result_ttl: seconds that results are kept there; ``None``: ``BackendConfig.result_ttl``.
    """

    path: str = setting("BACKEND_SQLITE_PATH", str, "chicory.db")
    url: str | None = setting("BACKEND_SQLITE_URL", str, None)
    synchronous: Synchronous = setting("BACKEND_SQLITE_SYNCHRONOUS", Synchronous, "normal")
    result_ttl: PositiveSeconds | None = setting("BACKEND_SQLITE_RESULT_TTL", PositiveSeconds, None)


class RedisBrokerConfig(_RedisConfig, kw_only=True):
    """Address of a Redis broker; ``CHICORY_BROKER_REDIS_<FIELD>``; ``url`` wins.

    Attributes:
        ssl: connect with TLS.
        ssl_ca_certs: file with the authorities to trust; ``None`` for the system's.
        ssl_certfile: our certificate, if the server wants one.
        ssl_keyfile: its key.
        ssl_cert_reqs: ``none`` to take any certificate of the server.
        consumer_group: name of the group that reads the streams, one for all who share them.
        key_prefix: what all keys begin with.
    """

    host: str = setting("BROKER_REDIS_HOST", str, "localhost")
    port: Port = setting("BROKER_REDIS_PORT", Port, 6379)
    db: Count = setting("BROKER_REDIS_DB", Count, 0)
    username: str | None = setting("BROKER_REDIS_USERNAME", str, None)
    password: str | None = setting("BROKER_REDIS_PASSWORD", str, None)
    ssl: bool = setting("BROKER_REDIS_SSL", bool, False)  # noqa: FBT003
    ssl_ca_certs: str | None = setting("BROKER_REDIS_SSL_CA_CERTS", str, None)
    ssl_certfile: str | None = setting("BROKER_REDIS_SSL_CERTFILE", str, None)
    ssl_keyfile: str | None = setting("BROKER_REDIS_SSL_KEYFILE", str, None)
    ssl_cert_reqs: CertReqs = setting("BROKER_REDIS_SSL_CERT_REQS", CertReqs, "required")
    consumer_group: str = setting("BROKER_REDIS_CONSUMER_GROUP", str, _CONSUMER_GROUP)
    key_prefix: str = setting("BROKER_REDIS_KEY_PREFIX", str, "")
    url: str | None = setting("BROKER_REDIS_URL", str, None)


class RedisBackendConfig(_RedisConfig, kw_only=True):
    """Address of a Redis result backend; ``CHICORY_BACKEND_REDIS_<FIELD>``; ``url`` wins.

    The fields are those of ``RedisBrokerConfig``, and one more.

    Attributes:
        result_ttl: seconds that results are kept there; ``None``: ``BackendConfig.result_ttl``.
    """

    host: str = setting("BACKEND_REDIS_HOST", str, "localhost")
    port: Port = setting("BACKEND_REDIS_PORT", Port, 6379)
    db: Count = setting("BACKEND_REDIS_DB", Count, 0)
    username: str | None = setting("BACKEND_REDIS_USERNAME", str, None)
    password: str | None = setting("BACKEND_REDIS_PASSWORD", str, None)
    ssl: bool = setting("BACKEND_REDIS_SSL", bool, False)  # noqa: FBT003
    ssl_ca_certs: str | None = setting("BACKEND_REDIS_SSL_CA_CERTS", str, None)
    ssl_certfile: str | None = setting("BACKEND_REDIS_SSL_CERTFILE", str, None)
    ssl_keyfile: str | None = setting("BACKEND_REDIS_SSL_KEYFILE", str, None)
    ssl_cert_reqs: CertReqs = setting("BACKEND_REDIS_SSL_CERT_REQS", CertReqs, "required")
    consumer_group: str = setting("BACKEND_REDIS_CONSUMER_GROUP", str, _CONSUMER_GROUP)
    key_prefix: str = setting("BACKEND_REDIS_KEY_PREFIX", str, "")
    result_ttl: PositiveSeconds | None = setting("BACKEND_REDIS_RESULT_TTL", PositiveSeconds, None)
    url: str | None = setting("BACKEND_REDIS_URL", str, None)


class NatsBrokerConfig(_NatsConfig, kw_only=True):
    """Address of a NATS broker; ``CHICORY_BROKER_NATS_<FIELD>``; ``url`` wins.

    Attributes:
        host: one server, or several with commas between them.
        port: of the servers that are given without one.
        token: a login that is one secret.
        credentials: file with a JWT and its key.
        nkey: file with the seed of an NKey.
        tls: encrypt the connection.
        tls_ca: file with the authorities to trust, instead of the system's.
        replicas: copies of the stream in a cluster.
        storage: where the stream is kept.
    """

    host: str = setting("BROKER_NATS_HOST", str, "localhost")
    port: Port = setting("BROKER_NATS_PORT", Port, 4222)
    username: str | None = setting("BROKER_NATS_USERNAME", str, None)
    password: str | None = setting("BROKER_NATS_PASSWORD", str, None)
    token: str | None = setting("BROKER_NATS_TOKEN", str, None)
    credentials: str | None = setting("BROKER_NATS_CREDENTIALS", str, None)
    nkey: str | None = setting("BROKER_NATS_NKEY", str, None)
    tls: bool = setting("BROKER_NATS_TLS", bool, False)  # noqa: FBT003
    tls_ca: str | None = setting("BROKER_NATS_TLS_CA", str, None)
    replicas: Replicas = setting("BROKER_NATS_REPLICAS", Replicas, 1)
    storage: Storage = setting("BROKER_NATS_STORAGE", Storage, "file")
    url: str | None = setting("BROKER_NATS_URL", str, None)


class NatsBackendConfig(_NatsConfig, kw_only=True):
    """Address of a NATS result backend; ``CHICORY_BACKEND_NATS_<FIELD>``; ``url`` wins.

    Attributes:
        host: one server, or several with commas between them.
        port: of the servers that are given without one.
        token: a login that is one secret.
        credentials: file with a JWT and its key.
        nkey: file with the seed of an NKey.
        tls: encrypt the connection.
        tls_ca: file with the authorities to trust, instead of the system's.
        replicas: copies of the stream in a cluster.
        storage: where the stream is kept.
        result_ttl: seconds that results are kept there; ``None``: ``BackendConfig.result_ttl``.
    """

    host: str = setting("BACKEND_NATS_HOST", str, "localhost")
    port: Port = setting("BACKEND_NATS_PORT", Port, 4222)
    username: str | None = setting("BACKEND_NATS_USERNAME", str, None)
    password: str | None = setting("BACKEND_NATS_PASSWORD", str, None)
    token: str | None = setting("BACKEND_NATS_TOKEN", str, None)
    credentials: str | None = setting("BACKEND_NATS_CREDENTIALS", str, None)
    nkey: str | None = setting("BACKEND_NATS_NKEY", str, None)
    tls: bool = setting("BACKEND_NATS_TLS", bool, False)  # noqa: FBT003
    tls_ca: str | None = setting("BACKEND_NATS_TLS_CA", str, None)
    replicas: Replicas = setting("BACKEND_NATS_REPLICAS", Replicas, 1)
    storage: Storage = setting("BACKEND_NATS_STORAGE", Storage, "file")
    result_ttl: PositiveSeconds | None = setting("BACKEND_NATS_RESULT_TTL", PositiveSeconds, None)
    url: str | None = setting("BACKEND_NATS_URL", str, None)


class BrokerConfig(Section, kw_only=True):
    """Where the queues are. ``url`` (``CHICORY_BROKER_URL``) is what ``Chicory()`` opens."""

    url: str | None = setting("BROKER_URL", str, None)
    sqlite: SQLiteBrokerConfig = msgspec.field(default_factory=SQLiteBrokerConfig)
    redis: RedisBrokerConfig = msgspec.field(default_factory=RedisBrokerConfig)
    nats: NatsBrokerConfig = msgspec.field(default_factory=NatsBrokerConfig)

    def address(self, kind: BrokerType | None) -> str:
        """The URL of the broker of this kind; ``None``: of the one configured."""
        match kind:
            case None:
                return self.url or self.sqlite.address
            case BrokerType.MEMORY:
                return "memory://"
            case _:
                return getattr(self, kind.value).address


class BackendConfig(Section, kw_only=True):
    """Where the results are. ``url`` (``CHICORY_BACKEND_URL``): elsewhere than the queues.

    Attributes:
        result_ttl: seconds that results are kept, where the section of their server says nothing.
    """

    url: str | None = setting("BACKEND_URL", str, None)
    result_ttl: PositiveSeconds = setting("BACKEND_RESULT_TTL", PositiveSeconds, 86_400.0)
    sqlite: SQLiteBackendConfig = msgspec.field(default_factory=SQLiteBackendConfig)
    redis: RedisBackendConfig = msgspec.field(default_factory=RedisBackendConfig)
    nats: NatsBackendConfig = msgspec.field(default_factory=NatsBackendConfig)

    def address(self, kind: BackendType) -> str:
        """The URL of the backend of this kind."""
        if kind is BackendType.MEMORY:
            return "memory://"
        return getattr(self, kind.value).address

    def ttl(self, url: str) -> float:
        """Seconds that results are kept at this URL: what is set for its kind of server goes first.

        So a general setting, wherever it comes from, gives way to a special one.
        """
        kind = _KINDS.get(url.partition("://")[0])
        special: float | None = getattr(self, kind.value).result_ttl if kind else None
        return self.result_ttl if special is None else special


class ChicoryConfig(Section, kw_only=True):
    """Settings of an app; ``CHICORY_<FIELD>``.

    Attributes:
        broker: where the queues are.
        backend: where the results are.
        worker: settings of its workers.
        namespace: keeps several applications on one broker apart.
        lease: seconds; see ``chicory.transport.TransportSettings``.
        validation_mode: of tasks that name none.
        delivery_mode: of tasks that name none.
        max_message_size: bytes of an encoded message or result.
        result_default_timeout: seconds that ``get()`` waits; ``None`` for ever.
    """

    broker: BrokerConfig = msgspec.field(default_factory=BrokerConfig)
    backend: BackendConfig = msgspec.field(default_factory=BackendConfig)
    worker: WorkerConfig = msgspec.field(default_factory=WorkerConfig)
    namespace: Name = setting("NAMESPACE", Name, "chicory")
    lease: PositiveSeconds = setting("LEASE", PositiveSeconds, DEFAULT_LEASE)
    validation_mode: ValidationMode = setting(
        "VALIDATION_MODE", ValidationMode, ValidationMode.INPUTS
    )
    delivery_mode: DeliveryMode = setting("DELIVERY_MODE", DeliveryMode, DeliveryMode.AT_LEAST_ONCE)
    max_message_size: PositiveInt = setting("MAX_MESSAGE_SIZE", PositiveInt, MEBIBYTE)
    result_default_timeout: Seconds | None = setting("RESULT_DEFAULT_TIMEOUT", Seconds, None)
