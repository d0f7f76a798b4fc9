"""Where NATS servers are, how to log in to them, and how they keep the stream."""

from __future__ import annotations

from typing import ClassVar, Literal
from urllib.parse import urlencode

from chicory.config.kinds import Host, Port, PositiveSeconds
from chicory.config.login import escaped, login, server
from chicory.environment import Section, setting

Replicas = Literal[1, 3, 5]
Storage = Literal["file", "memory"]


class NatsConfig(Section, kw_only=True):
    """Address of NATS servers.

    Attributes:
        host: one server, or several with commas between them.
        port: of the servers that are given without one.
        username: of a user of the servers.
        password: of that user.
        token: a login that is one secret.
        credentials: file with a JWT and its key.
        nkey: file with the seed of an NKey.
        tls: encrypt the connection.
        tls_ca: file with the authorities to trust, instead of the system's.
        tls_handshake_first: encrypt before the servers say anything, where they are set to that.
        replicas: copies of the stream in a cluster.
        storage: where the stream is kept.
        url: the whole address, as in ``nats://user:password@host:4222``; it wins over the rest.
    """

    host: Host = setting("localhost")
    port: Port = setting(4222)
    username: str | None = setting(None)
    password: str | None = setting(None)
    token: str | None = setting(None)
    credentials: str | None = setting(None)
    nkey: str | None = setting(None)
    tls: bool = setting(default=False)
    tls_ca: str | None = setting(None)
    tls_handshake_first: bool = setting(default=False)
    replicas: Replicas = setting(1)
    storage: Storage = setting("file")
    url: str | None = setting(None)

    @property
    def address(self) -> str:
        """The URL of the servers."""
        if self.url:
            return self.url
        scheme = "tls" if self.tls else "nats"
        hosts = ",".join(server(host, self.port) for host in self.host.split(","))
        given = {name: value for name, value in self._options().items() if value is not None}
        return f"{scheme}://{self._login()}{hosts}{'?' + urlencode(given) if given else ''}"

    def _login(self) -> str:
        if self.token is not None:
            return f"{escaped(self.token)}@"
        return login(self.username, self.password)

    def _options(self) -> dict[str, str | int | None]:
        return {
            "credentials": self.credentials,
            "nkey": self.nkey,
            "tls_ca": self.tls_ca,
            "tls_handshake_first": "true" if self.tls_handshake_first else None,
            "replicas": self.replicas if self.replicas > 1 else None,
            "storage": self.storage if self.storage != "file" else None,
        }


class NatsBrokerConfig(NatsConfig, kw_only=True):
    """Address of a NATS broker; ``CHICORY_BROKER_NATS_<FIELD>``."""

    prefix: ClassVar[str] = "BROKER_NATS"


class NatsBackendConfig(NatsConfig, kw_only=True):
    """Address of a NATS result backend; ``CHICORY_BACKEND_NATS_<FIELD>``.

    Attributes:
        result_ttl: seconds that results are kept there; what the backend says if not given.
    """

    prefix: ClassVar[str] = "BACKEND_NATS"

    result_ttl: PositiveSeconds | None = setting(None)
