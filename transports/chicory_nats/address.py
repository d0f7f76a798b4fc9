"""What a ``nats://`` URL says."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, cast
from urllib.parse import parse_qsl, unquote, urlsplit

from msgspec import Struct

from chicory.errors import ConfigurationError
from chicory.masking import Discreet, cut_login, is_cut_login, mask, split

Storage = Literal["file", "memory"]

_FORM = "nats://host:4222 or nats://user:password@host1,host2:4222?replicas=3"
_PORT = 4222
_OPTIONS = (
    "replicas", "storage", "credentials", "nkey", "tls_ca", "tls_cert", "tls_key",
    "tls_handshake_first", "domain",
)  # fmt: skip
_REPLICAS = ("1", "3", "5")


class Address(Discreet, Struct, frozen=True, kw_only=True):
    """Where the servers are, how to log in, and how the stream is kept.

    Attributes:
        servers: URLs without a login, in the order in which they are tried.
        user: a login, with ``password``.
        token: a login that is one secret: what is in front of ``@`` without a colon.
        credentials: file with a JWT and its key.
        nkey: file with the seed of an NKey.
        tls: whether the connection must be encrypted.
        tls_ca: file with the authorities to trust, instead of the system's.
        tls_cert: file with the client's certificate.
        tls_key: file with its key.
        tls_handshake_first: encrypt before the server says anything, as it must be set to, too.
        replicas: copies of the stream: 1, 3 or 5.
        storage: where the stream is kept: ``file`` or ``memory``.
        domain: of JetStream, where a leaf node hides it.
    """

    servers: tuple[str, ...]
    user: str | None = None
    password: str | None = None
    token: str | None = None
    credentials: str | None = None
    nkey: str | None = None
    tls: bool = False
    tls_ca: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None
    tls_handshake_first: bool = False
    replicas: int = 1
    storage: Storage = "file"
    domain: str | None = None

    def __str__(self) -> str:
        """The servers, without secrets."""
        return ", ".join(self.servers)

    def options(self) -> dict[str, Any]:
        """Arguments for nats-py's ``connect``."""
        given = {
            "user": self.user,
            "password": self.password,
            "token": self.token,
            "user_credentials": self.credentials,
            "nkeys_seed": self.nkey,
            "tls": self._context(),
            "tls_handshake_first": self.tls_handshake_first or None,
        }
        return {name: value for name, value in given.items() if value is not None}

    def _context(self) -> ssl.SSLContext | None:
        if not (self.tls or self.tls_ca or self.tls_cert or self.tls_handshake_first):
            return None
        try:
            context = ssl.create_default_context(cafile=self.tls_ca)
        except OSError as error:
            raise unusable("tls_ca", self.tls_ca, error) from error
        if self.tls_cert:
            try:
                context.load_cert_chain(self.tls_cert, self.tls_key)
            except OSError as error:
                name = "tls_cert" if self.tls_key is None else "tls_cert, or tls_key"
                raise unusable(name, self.tls_cert, error) from error
        return context


def parse(url: str) -> Address:
    """Read a URL; ``ConfigurationError`` names what is wrong with it and what is accepted."""
    scheme, separator, rest = url.partition("://")
    if scheme not in {"nats", "tls"} or not separator:
        raise ConfigurationError(f"{scheme!r} is not the scheme of a NATS URL: write {_FORM}")
    parts = split(f"//{rest}")
    if parts is None:
        raise ConfigurationError(f"{mask(url)!r} is not a URL: write {_FORM}")
    if is_cut_login(parts, _OPTIONS):
        raise ConfigurationError(cut_login(url))
    login, _, hosts = parts.netloc.rpartition("@")
    if not hosts or parts.path.strip("/") or parts.fragment:
        raise ConfigurationError(f"the NATS URL names no server, or too much: write {_FORM}")
    options = _options(parts.query)
    user, colon, password = login.partition(":")
    return Address(
        servers=tuple(_server(scheme, host.strip()) for host in hosts.split(",")),
        user=unquote(user) if colon else None,
        password=unquote(password) if colon else None,
        token=unquote(user) if login and not colon else None,
        credentials=_file(options, "credentials"),
        nkey=_file(options, "nkey"),
        tls=scheme == "tls",
        tls_ca=_file(options, "tls_ca"),
        tls_cert=_file(options, "tls_cert"),
        tls_key=_file(options, "tls_key"),
        tls_handshake_first=_is_true(options, "tls_handshake_first"),
        replicas=_replicas(options),
        storage=_storage(options),
        domain=options.get("domain"),
    )


def _server(scheme: str, host: str) -> str:
    try:
        parts = urlsplit(f"//{host}")
        name, port = parts.hostname, parts.port
    except ValueError:
        name, port = None, None
    if not name or (host.endswith(":") and port is None):
        raise ConfigurationError(f"{host!r} is not a server of a NATS URL: write {_FORM}")
    name = f"[{name}]" if ":" in name else name
    return f"{scheme}://{name}:{_PORT if port is None else port}"


def _options(query: str) -> Mapping[str, str]:
    pairs = parse_qsl(query, keep_blank_values=True)
    options = dict(pairs)
    for name in options:
        if name not in _OPTIONS:
            raise ConfigurationError(
                f"a NATS URL has no option {name!r}; accepted are {', '.join(_OPTIONS)}"
            )
    if len(options) != len(pairs):
        raise ConfigurationError("a NATS URL gives an option twice")
    return options


def _file(options: Mapping[str, str], name: str) -> str | None:
    path = options.get(name)
    if path is not None:
        try:
            Path(path).open("rb").close()
        except OSError as error:
            raise unusable(name, path, error) from None
    return path


def _is_true(options: Mapping[str, str], name: str) -> bool:
    value = options.get(name, "false")
    if value not in {"true", "false"}:
        raise ConfigurationError(f"{name}={value!r} is wrong; accepted are true, false")
    return value == "true"


def unusable(name: str, path: str | None, error: OSError) -> ConfigurationError:
    """The error for a file that an option names."""
    reason = error.reason if isinstance(error, ssl.SSLError) else error.strerror
    return ConfigurationError(f"{name}={path!r}: the file cannot be used: {reason or error}")


def _replicas(options: Mapping[str, str]) -> int:
    value = options.get("replicas", "1")
    if value not in _REPLICAS:
        raise ConfigurationError(f"replicas={value!r} is wrong; accepted are 1, 3 and 5")
    return int(value)


def _storage(options: Mapping[str, str]) -> Storage:
    value = options.get("storage", "file")
    if value not in {"file", "memory"}:
        raise ConfigurationError(f"storage={value!r} is unknown; accepted are file, memory")
    return cast("Storage", value)
