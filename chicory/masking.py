"""Keeping secrets out of what is shown: logs, errors, tracebacks, ``repr``."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any, ClassVar
from urllib.parse import SplitResult, urlsplit

_SECRETS = ("password", "token", "signing_keys")

# A password that was not escaped may hold "/" and "@": hide too much rather than too little.
_LOGIN = re.compile(r"(://)(?!/).*@", re.DOTALL)
_NO_URL = re.compile(r"^(?!.*://).*@", re.DOTALL)
_OPTION = re.compile(
    r"((?:^|[?&;])[^=&;]*(?:password|passwd|secret|token)[^=&;]*=)[^&;]*", re.IGNORECASE
)


def mask(url: str) -> str:
    """A URL fit to be shown: without user and password, also where it is malformed."""
    return _OPTION.sub(r"\1***", _NO_URL.sub("***@", _LOGIN.sub(r"\1***@", url)))


def split(url: str) -> SplitResult | None:
    """``urlsplit``; ``None`` where that refuses the URL, in words which may quote the login."""
    try:
        return urlsplit(url)
    except ValueError:
        return None


def is_cut_login(parts: SplitResult, options: Collection[str]) -> bool:
    """Whether a URL's login ends too soon, at a ``/``, ``?`` or ``#`` that was not escaped.

    The ``@`` stands after the host then, where only the values of ``options`` may hold one.
    """
    pairs = [pair for pair in parts.query.split("&") if pair.partition("=")[0] not in options]
    return "@" in "".join([parts.path, *pairs, parts.fragment])


def cut_login(url: str) -> str:
    """What to say of such a URL."""
    return (
        f"{mask(url)!r} has an @ after its host: escape what user and password hold "
        "of / ? # and @ (percent-encode it: %2F %3F %23 %40)"
    )


def is_secret(name: str) -> bool:
    """Whether what a field, an option or a variable of that name holds must never be shown."""
    return name.lower().endswith(_SECRETS)


class Discreet:
    """A ``Struct`` that is this, too, shows its secrets neither in its ``repr`` nor to rich."""

    __slots__ = ()
    __struct_fields__: ClassVar[tuple[str, ...]]

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.__rich_repr__())
        return f"{type(self).__name__}({shown})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """What is shown."""
        return [(name, self._shown(name)) for name in self.__struct_fields__]

    def _shown(self, name: str) -> Any:
        value: object = getattr(self, name)
        if value is not None and is_secret(name):
            return "***"
        return mask(value) if isinstance(value, str) else value
