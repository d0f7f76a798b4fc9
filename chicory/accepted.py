"""What a setting may be: checked, and said in words for people."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec

from chicory.errors import ConfigurationError

_LONGEST = 40
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def is_plain(name: str) -> bool:
    """Whether a name has no control characters, which steer terminals and forge lines of logs."""
    return not _CONTROL.search(name)


def is_text(name: str) -> bool:
    """Whether it can be sent: half of a surrogate pair is no character of any encoding."""
    return name.isascii() or not any("\ud800" <= character <= "\udfff" for character in name)


def brief(value: object) -> str:
    """The value as a program has it, cut off where that is long."""
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def accept(value: Any, kind: Any, shown: str, *, strict: bool = True) -> Any:
    """The value as ``kind``; ``strict=False`` reads it from text.

    Raises ``ConfigurationError``: ``shown``, which names the setting, and what is accepted.
    """
    try:
        return msgspec.convert(value, kind, strict=strict)
    except (msgspec.ValidationError, OverflowError):
        raise ConfigurationError(f"{shown}: must be {words(kind)}") from None


def words(kind: Any) -> str:
    """What values ``kind`` has, as a phrase: ``a whole number, 1 or more``."""
    from msgspec.inspect import type_info  # noqa: PLC0415  (only who made a mistake pays for it)

    return _phrase(type_info(kind))


def _phrase(kind: Any) -> str:
    phrase = _PHRASES.get(type(kind).__name__)
    return phrase(kind) if phrase else f"a {kind.cls.__name__}"


def _text(kind: Any) -> str:
    if kind.max_length is None:
        return "text of 1 character or more" if kind.min_length else "text"
    return f"text of {kind.min_length or 0} to {kind.max_length} characters"


def _range(kind: Any) -> str:
    if kind.gt is not None:
        return f" above {kind.gt:g}" + (f" up to {kind.le:.12g}" if kind.le is not None else "")
    if kind.ge is None:
        return ""
    return f", {kind.ge:g} or more" if kind.le is None else f" from {kind.ge:g} to {kind.le:.12g}"


_PHRASES: dict[str, Callable[[Any], str]] = {
    "BoolType": lambda _: "true or false",
    "IntType": lambda kind: f"a whole number{_range(kind)}",
    "FloatType": lambda kind: f"a number{_range(kind)}",
    "StrType": _text,
    "Metadata": lambda kind: kind.extra_json_schema["description"],
    "NoneType": lambda _: "None",
    "LiteralType": lambda kind: f"one of {', '.join(map(str, kind.values))}",
    "EnumType": lambda kind: f"one of {', '.join(str(member.value) for member in kind.cls)}",
    "UnionType": lambda kind: " or ".join(map(_phrase, kind.types)),
}
