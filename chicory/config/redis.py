"""Where a Redis server is, and how to log in to it."""

from __future__ import annotations

from typing import ClassVar, Literal
from urllib.parse import urlencode

from chicory.config.kinds import Count, Host, Port, PositiveSeconds
from chicory.config.login import login, server
from chicory.environment import Section, setting

CertReqs = Literal["required", "none"]
_GROUP = "chicory"


class RedisConfig(Section, kw_only=True):
    """Address of a Redis server.

    Attributes:
        host: its name or address, and its port where it has one of its own, as in ``redis:7000``.
        port: where it listens.
        db: number of the database.
        username: of a user of its access control list.
        password: of that user, or of the server.
        ssl: connect with TLS.
        ssl_ca_certs: file with the authorities to trust; the system's where none is given.
        ssl_certfile: file with our certificate, if the server wants one.
        ssl_keyfile: file with its key.
        ssl_cert_reqs: ``none`` to take any certificate of the server.
        consumer_group: name of the group that reads the streams, one for all who share them.
        key_prefix: what all keys begin with.
        url: the whole address, as in ``rediss://user:password@host:6379/0``; it wins over the
            rest.
    """

    host: Host = setting("localhost")
    port: Port = setting(6379)
    db: Count = setting(0)
    username: str | None = setting(None)
    password: str | None = setting(None)
    ssl: bool = setting(default=False)
    ssl_ca_certs: str | None = setting(None)
    ssl_certfile: str | None = setting(None)
    ssl_keyfile: str | None = setting(None)
    ssl_cert_reqs: CertReqs = setting("required")
    consumer_group: str = setting(_GROUP)
    key_prefix: str = setting("")
    url: str | None = setting(None)

    @property
    def address(self) -> str:
        """The URL of the server."""
        if self.url:
            return self.url
        query = urlencode({name: value for name, value in self._options().items() if value})
        scheme = "rediss" if self.ssl else "redis"
        place = f"{login(self.username, self.password)}{server(self.host, self.port)}"
        address = f"{scheme}://{place}/{self.db}"
        return f"{address}?{query}" if query else address

    def _options(self) -> dict[str, str]:
        options = {"key_prefix": self.key_prefix}
        if self.consumer_group != _GROUP:
            options["consumer_group"] = self.consumer_group
        if self.ssl:
            options |= {
                "ssl_ca_certs": self.ssl_ca_certs or "",
                "ssl_certfile": self.ssl_certfile or "",
                "ssl_keyfile": self.ssl_keyfile or "",
                "ssl_cert_reqs": "" if self.ssl_cert_reqs == "required" else self.ssl_cert_reqs,
            }
        return options


class RedisBrokerConfig(RedisConfig, kw_only=True):
    """Address of a Redis broker; ``CHICORY_BROKER_REDIS_<FIELD>``."""

    prefix: ClassVar[str] = "BROKER_REDIS"


class RedisBackendConfig(RedisConfig, kw_only=True):
    """Address of a Redis result backend; ``CHICORY_BACKEND_REDIS_<FIELD>``.

    Attributes:
        result_ttl: seconds that results are kept there; what the backend says if not given.
    """

    prefix: ClassVar[str] = "BACKEND_REDIS"

    result_ttl: PositiveSeconds | None = setting(None)
