"""What a ``sqlite:///`` URL says."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import parse_qsl, unquote

from msgspec import Struct

from chicory.errors import ConfigurationError
from chicory.masking import mask, split

SMALLEST = 1 << 20
"""Bytes: the least ``max_size`` that leaves room for work."""

_FORM = "sqlite:///relative/path.db or sqlite:////absolute/path.db"
_SYNCHRONOUS = ("off", "normal", "full", "extra")
_LONGEST_TIMEOUT = 3600.0


class Address(Struct, frozen=True):
    """Where the database is and how it is used.

    Attributes:
        path: the file; absolute.
        synchronous: ``PRAGMA synchronous``: what survives a loss of power.
        busy_timeout: seconds to wait for other processes' transactions.
        max_size: bytes the file may grow to, ``None`` for as much as the disk has.
    """

    path: Path
    synchronous: str = "normal"
    busy_timeout: float = 30.0
    max_size: int | None = None


def parse(url: str) -> Address:
    """Read a URL; ``ConfigurationError`` names what is wrong with it and what is accepted.

    What is relative is so to the folder that is the current one now.
    """
    parts = split(url)
    if (
        parts is None
        or parts.scheme != "sqlite"
        or parts.netloc
        or parts.fragment
        or not url[len("sqlite:///") :]
    ):
        raise ConfigurationError(f"{mask(url)!r} is not the URL of an SQLite file: write {_FORM}")
    path = unquote(parts.path.removeprefix("/"))
    if path in {"", ":memory:"} or path.endswith("/") or "\0" in path:
        raise ConfigurationError(f"{mask(url)!r} names no file: write {_FORM}")
    options = _options(url, parts.query)
    return Address(
        path=_absolute(path),
        synchronous=_synchronous(options),
        busy_timeout=_busy_timeout(options),
        max_size=_max_size(options),
    )


def _absolute(path: str) -> Path:
    try:
        return Path(path).absolute()
    except FileNotFoundError as error:
        raise ConfigurationError(
            f"{path!r} is relative to the current folder, and that is gone"
        ) from error


def _options(url: str, query: str) -> Mapping[str, str]:
    pairs = parse_qsl(query, keep_blank_values=True)
    options = dict(pairs)
    for name in options:
        if name not in {"synchronous", "busy_timeout", "max_size"}:
            raise ConfigurationError(
                f"{mask(url)!r}: there is no option {name!r}; "
                "accepted are synchronous, busy_timeout and max_size"
            )
    if len(options) != len(pairs):
        raise ConfigurationError(f"{mask(url)!r}: an option is given twice")
    return options


def _synchronous(options: Mapping[str, str]) -> str:
    value = options.get("synchronous", "normal").lower()
    if value not in _SYNCHRONOUS:
        raise ConfigurationError(
            f"synchronous={value!r} is unknown; accepted are {', '.join(_SYNCHRONOUS)}"
        )
    return value


def _busy_timeout(options: Mapping[str, str]) -> float:
    text = options.get("busy_timeout", "30")
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value <= _LONGEST_TIMEOUT:
        raise ConfigurationError(
            f"busy_timeout={text!r} is wrong; accepted are seconds above 0, up to 3600"
        )
    return value


def _max_size(options: Mapping[str, str]) -> int | None:
    text = options.get("max_size")
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or int(text) < SMALLEST:
        raise ConfigurationError(
            f"max_size={text!r} is wrong; accepted are whole bytes from {SMALLEST} up"
        )
    return int(text)
