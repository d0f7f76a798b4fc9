"""The parts of a server's URL that need escaping."""

from __future__ import annotations

from urllib.parse import quote


def login(username: str | None, password: str | None) -> str:
    """What stands before the host: nothing, or user and password with an ``@`` after them."""
    if username is None and password is None:
        return ""
    return f"{escaped(username or '')}:{escaped(password or '')}@"


def escaped(secret: str) -> str:
    """Text that may hold any character, as a part of a URL."""
    return quote(secret, safe="")


def server(host: str, port: int) -> str:
    """A host with a port: its own, where it has one."""
    return host if host.count(":") == 1 or "]:" in host else f"{bracketed(host)}:{port}"


def bracketed(host: str) -> str:
    """A host as it stands before a port: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host
