"""What a Redis URL says."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from msgspec import Struct

from chicory.errors import ConfigurationError
from chicory.masking import Discreet, cut_login, is_cut_login, mask, split

DEFAULT_PORT = 6379

DEFAULT_SENTINEL_PORT = 26379

_FORMS = (
    "redis://[user:password@]host[:port][/db], rediss://... for TLS, "
    "unix://[user:password@]/path/to/socket[?db=0], "
    "or redis+sentinel://[user:password@]host[:port][,host[:port]...]/service[/db]"
)
_SCHEMES = frozenset({"redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel"})
_COMMON = frozenset({"answer_timeout", "connect_timeout", "consumer_group", "key_prefix"})
_TLS = frozenset({"ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs"})
_CERT_REQS = ("required", "none")
_GROUP = re.compile(r"[\w.:-]{1,255}", re.ASCII)
_LONGEST = 3600.0


class Tls(Struct, frozen=True):
    """How the server proves who it is, and we.

    Attributes:
        ca_certs: file with the authorities to trust, ``None`` for the system's.
        certfile: our certificate, if the server wants one.
        keyfile: its key.
        verify: whether the server's certificate and name are checked.
    """

    ca_certs: str | None = None
    certfile: str | None = None
    keyfile: str | None = None
    verify: bool = True


class Node(Struct, frozen=True):
    """A server or a sentinel."""

    host: str = "localhost"
    port: int = DEFAULT_PORT


class Address(Discreet, Struct, frozen=True):
    """Where the server is and how it is used.

    Attributes:
        nodes: the server, or the sentinels.
        path: of a socket of this machine, which goes before ``nodes``.
        service: what the sentinels call the server; empty where there are none.
        db: number of the database.
        username: of the ACL user.
        password: of the user.
        tls: ``None`` for plain text.
        connect_timeout: seconds that connecting may take.
        answer_timeout: seconds that the server may take to answer.
        key_prefix: what all keys begin with.
        consumer_group: name of the group that reads the streams; one for all who share them.
        sentinel_password: of the sentinels.
    """

    nodes: tuple[Node, ...] = (Node(),)
    path: str = ""
    service: str = ""
    db: int = 0
    username: str | None = None
    password: str | None = None
    tls: Tls | None = None
    connect_timeout: float = 5.0
    answer_timeout: float = 10.0
    key_prefix: str = ""
    consumer_group: str = "chicory"
    sentinel_password: str | None = None

    def __str__(self) -> str:
        """For people; without secrets."""
        nodes = ",".join(f"{node.host}:{node.port}" for node in self.nodes)
        if self.service:
            return f"Redis {self.service!r} of the sentinels at {nodes}"
        return f"Redis at {self.path or nodes}"


def parse(url: str) -> Address:
    """Read a URL; ``ConfigurationError`` names what is wrong with it and what is accepted."""
    parts = split(url)
    if parts is None:
        raise ConfigurationError(f"{mask(url)!r} is not a URL: write {_FORMS}")
    login, _, hosts = parts.netloc.rpartition("@")
    # the path of a socket may hold any character
    if is_cut_login(parts._replace(path="") if _is_socket(parts) else parts, _known(parts)):
        raise ConfigurationError(cut_login(url))
    if parts.scheme not in _SCHEMES or parts.fragment:
        raise ConfigurationError(f"{_shown(parts)!r} is not a Redis URL: write {_FORMS}")
    options = _options(parts)
    username, _, password = login.partition(":")
    place = _place(parts, hosts, options)
    return Address(
        **place,
        username=unquote(username) or None,
        password=unquote(password) or None,
        tls=_tls(options) if parts.scheme.startswith("rediss") else None,
        connect_timeout=_seconds(options, "connect_timeout", 5.0),
        answer_timeout=_seconds(options, "answer_timeout", 10.0),
        key_prefix=_key_prefix(options),
        consumer_group=_consumer_group(options),
        sentinel_password=options.get("sentinel_password"),
    )


def _place(parts: SplitResult, hosts: str, options: Mapping[str, str]) -> dict[str, Any]:
    path = unquote(parts.path)
    if parts.scheme == "unix":
        if hosts or not path.strip("/"):
            raise ConfigurationError(f"{_shown(parts)!r} names no socket: write {_FORMS}")
        return {"nodes": (Node(""),), "path": path, "db": _db(options.get("db", "0"))}
    if parts.scheme.endswith("+sentinel"):
        service, _, db = path.strip("/").partition("/")
        if not service:
            raise ConfigurationError(f"{_shown(parts)!r} names no service: write {_FORMS}")
        nodes = tuple(_node(host, DEFAULT_SENTINEL_PORT) for host in hosts.split(","))
        return {"nodes": nodes, "service": service, "db": _db(db or "0")}
    return {"nodes": (_node(hosts, DEFAULT_PORT),), "db": _db(path.strip("/") or "0")}


def _node(text: str, default: int) -> Node:
    try:
        parts = urlsplit(f"//{text}")
        port = parts.port
    except ValueError:
        parts = port = None
    if parts is None or (text and parts.hostname is None):
        raise ConfigurationError(f"{text!r} is no valid host or port: write {_FORMS}")
    return Node(unquote(parts.hostname or "localhost"), default if port is None else port)


def _shown(parts: SplitResult) -> str:
    """The URL without its password and options."""
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()


def _is_socket(parts: SplitResult) -> bool:
    return parts.scheme == "unix" and not parts.netloc.rpartition("@")[2]


def _known(parts: SplitResult) -> frozenset[str]:
    known = _COMMON
    if parts.scheme.startswith("rediss"):
        known |= _TLS
    if parts.scheme.endswith("+sentinel"):
        known |= {"sentinel_password"}
    if parts.scheme == "unix":
        known |= {"db"}
    return known


def _options(parts: SplitResult) -> Mapping[str, str]:
    known = _known(parts)
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    options = dict(pairs)
    for name in options:
        if name not in known:
            raise ConfigurationError(
                f"{_shown(parts)!r}: there is no option {name!r}; "
                f"accepted are {', '.join(sorted(known))}"
            )
    if len(options) != len(pairs):
        raise ConfigurationError(f"{_shown(parts)!r}: an option is given twice")
    return options


def _db(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise ConfigurationError(f"{text!r} is no Redis database: write its number, such as /0")
    return int(text)


def _key_prefix(options: Mapping[str, str]) -> str:
    prefix = options.get("key_prefix", "")
    if "{" in prefix or "}" in prefix:
        raise ConfigurationError(
            f"key_prefix={prefix!r} is wrong; braces decide on Redis Cluster's slots"
        )
    return prefix


def _consumer_group(options: Mapping[str, str]) -> str:
    name = options.get("consumer_group", "chicory")
    if not _GROUP.fullmatch(name):
        raise ConfigurationError(
            f"consumer_group={name!r} is wrong; accepted are letters, digits and any of _ . : -"
        )
    return name


def _tls(options: Mapping[str, str]) -> Tls:
    requirement = options.get("ssl_cert_reqs", "required").lower()
    if requirement not in _CERT_REQS:
        raise ConfigurationError(
            f"ssl_cert_reqs={requirement!r} is unknown; accepted are {', '.join(_CERT_REQS)}"
        )
    if options.get("ssl_keyfile") and not options.get("ssl_certfile"):
        raise ConfigurationError("ssl_keyfile needs ssl_certfile: the certificate of that key")
    return Tls(
        ca_certs=options.get("ssl_ca_certs"),
        certfile=options.get("ssl_certfile"),
        keyfile=options.get("ssl_keyfile"),
        verify=requirement == "required",
    )


def _seconds(options: Mapping[str, str], name: str, default: float) -> float:
    text = options.get(name, str(default))
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value <= _LONGEST:
        raise ConfigurationError(
            f"{name}={text!r} is wrong; accepted are seconds above 0, up to 3600"
        )
    return value
