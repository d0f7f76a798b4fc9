"""The file ``.env`` in the current folder."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path

from chicory.errors import ConfigurationError

_loaded: tuple[object, Mapping[str, str]] = (None, {})


def dotenv() -> Mapping[str, str]:
    """The variables of ``.env`` in the current folder; read again when it has changed.

    Raises ``ConfigurationError`` where it is there and cannot be read.
    """
    global _loaded  # noqa: PLW0603  (a cache of one file)
    try:
        path = Path.cwd() / ".env"
        found = path.stat()
    except OSError:
        return {}
    if stat.S_ISDIR(found.st_mode):  # as some virtual environments are called
        return {}
    stamp = (path, found.st_ino, found.st_mtime_ns, found.st_size)
    if _loaded[0] != stamp:
        _loaded = (stamp, _parse(path))
    return _loaded[1]


def _parse(path: Path) -> Mapping[str, str]:
    from dotenv import dotenv_values  # noqa: PLC0415  (only who has a .env pays for it)

    try:
        values = dotenv_values(path)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from None
    return {key: value for key, value in values.items() if value is not None}
