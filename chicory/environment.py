"""Settings from the environment and from ``.env``: each variable read, converted and checked."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_type_hints

import msgspec
from msgspec import Struct

from chicory.errors import ConfigurationError

_SECRET = frozenset({"password", "token"})
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]*(?=@)")


def mask(url: str) -> str:
    """A URL fit to be shown: without its user and password."""
    return _CREDENTIALS.sub("***", url)


class Section(Struct, kw_only=True):
    """A group of settings; what is not given comes from its variable, else from its default."""

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self), include_extras=True)
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, Section):
                continue
            try:
                setattr(self, name, msgspec.convert(value, hints[name]))
            except msgspec.ValidationError as error:
                raise ConfigurationError(
                    f"{type(self).__name__}({name}={self._shown(name)!r}): {error}"
                ) from None

    def _shown(self, name: str) -> Any:
        value = getattr(self, name)
        if name in _SECRET and value is not None:
            return "***"
        return mask(value) if isinstance(value, str) else value

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={self._shown(name)!r}" for name in self.__struct_fields__)
        return f"{type(self).__name__}({shown})"


def setting(variable: str, kind: Any, default: Any) -> Any:
    """A field of a ``Section`` that the variable ``CHICORY_<variable>`` may set."""
    return msgspec.field(default_factory=_reader(f"CHICORY_{variable}", kind, default))


def _reader(variable: str, kind: Any, default: Any) -> Callable[[], Any]:
    def read() -> Any:
        text = os.environ.get(variable, dotenv().get(variable))
        if text is None:
            return default
        try:
            return msgspec.convert(text, kind, strict=False)
        except msgspec.ValidationError as error:
            shown = "***" if variable.rpartition("_")[2].lower() in _SECRET else mask(text)
            raise ConfigurationError(f"{variable}={shown!r}: {error}") from None

    return read


_loaded: tuple[object, Mapping[str, str]] = (None, {})


def dotenv() -> Mapping[str, str]:
    """The variables of ``.env`` in the current folder; read again when it has changed."""
    global _loaded  # noqa: PLW0603  (a cache of one file)
    path = Path.cwd() / ".env"
    try:
        stat = path.stat()
    except OSError:
        return {}
    stamp = (path, stat.st_mtime_ns, stat.st_size)
    if _loaded[0] != stamp:
        from dotenv import dotenv_values  # noqa: PLC0415  (only who has a .env pays for it)

        values = dotenv_values(path)
        _loaded = (stamp, {key: value for key, value in values.items() if value is not None})
    return _loaded[1]
