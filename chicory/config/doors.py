"""Where the queues are, and where the results are."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from chicory.config.kinds import PositiveSeconds, Text
from chicory.config.nats import NatsBackendConfig, NatsBrokerConfig
from chicory.config.redis import RedisBackendConfig, RedisBrokerConfig
from chicory.config.sqlite import SQLiteBackendConfig, SQLiteBrokerConfig
from chicory.environment import Section, setting
from chicory.states import BackendType, BrokerType

_KINDS = {
    "sqlite": BackendType.SQLITE,
    "nats": BackendType.NATS,
    "tls": BackendType.NATS,
    **dict.fromkeys(
        ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel"), BackendType.REDIS
    ),
}
"""Whose settings are meant by a URL's scheme."""


class BrokerConfig(Section, kw_only=True):
    """Where the queues are; ``CHICORY_BROKER_<FIELD>``.

    Attributes:
        url: what ``Chicory()`` opens; where none is given, the SQLite file.
        sqlite: what ``BrokerType.SQLITE`` opens.
        redis: what ``BrokerType.REDIS`` opens.
        nats: what ``BrokerType.NATS`` opens.
    """

    prefix: ClassVar[str] = "BROKER"

    url: Text | None = setting(None)
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
    """Where the results are; ``CHICORY_BACKEND_<FIELD>``.

    Attributes:
        url: where results are kept, if elsewhere than the queues.
        result_ttl: seconds that results are kept, where the section of their server says nothing.
        sqlite: what ``BackendType.SQLITE`` opens.
        redis: what ``BackendType.REDIS`` opens.
        nats: what ``BackendType.NATS`` opens.
    """

    prefix: ClassVar[str] = "BACKEND"

    url: Text | None = setting(None)
    result_ttl: PositiveSeconds = setting(86_400.0)
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
