"""Hooks: how classes that msgspec does not know travel, as their app was told."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar, get_args
from uuid import UUID

import msgspec
from msgspec import Struct
from msgspec.msgpack import Decoder

from chicory.errors import ConfigurationError

_NIL = b"\xc0"
_ENCODED_AS_THEY_ARE = (list, tuple, dict, set, frozenset, UUID)
"""Of these msgspec sends subclasses, too, without asking a hook."""


class Hook(Struct, frozen=True):
    """How instances of one class travel.

    Attributes:
        kind: the class.
        encode: makes of an instance what travels in its place.
        decode: makes an instance of that.
        via: the type of what travels; ``Any`` for plain values.
    """

    kind: type
    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]
    via: Any = Any

    def via_of(self, kind: Any) -> Any:
        """The type of what travels for this form of the class: ``list[int]`` for ``Box[int]``."""
        own: tuple[Any, ...] = getattr(self.kind, "__parameters__", ())
        given = dict(zip(own, get_args(kind), strict=False))
        if isinstance(self.via, TypeVar):
            return given.get(self.via, Any)
        open_ones = getattr(self.via, "__parameters__", ())
        return self.via[tuple(given.get(one, Any) for one in open_ones)] if open_ones else self.via


class Hooks:
    """The hooks of one app."""

    def __init__(self) -> None:
        self._hooks: dict[type, Hook] = {}

    def add(self, hook: Hook) -> None:
        """Take one in.

        Raises ``ConfigurationError`` where the class has one, or it could not be used.
        """
        shown = f"app.register_type({_named(hook.kind)})"
        if hook.kind in self._hooks:
            raise ConfigurationError(f"{shown}: it is registered already")
        _check(hook, shown)
        self._hooks[hook.kind] = hook

    def of(self, kind: type) -> Hook | None:
        """That of the class, or of its nearest base class that has one."""
        for base in kind.__mro__:
            hook = self._hooks.get(base)
            if hook is not None:
                return hook
        return None


def _check(hook: Hook, shown: str) -> None:
    kind: Any = hook.kind
    if not isinstance(kind, type) or kind is object:
        raise ConfigurationError(f"{shown}: must be a class of its own")
    for name, value in (("encode", hook.encode), ("decode", hook.decode)):
        if not callable(value):
            raise ConfigurationError(f"{shown}: {name}={value!r} must be a function")
    if hook.via is hook.kind:
        raise ConfigurationError(f"{shown}: via must be another type, one that can travel")
    if _is_known(hook.kind) or issubclass(hook.kind, _ENCODED_AS_THEY_ARE):
        raise ConfigurationError(f"{shown}: it travels without hooks, which are not asked for it")
    try:
        Decoder(hook.via, dec_hook=_nothing)
    except (TypeError, ValueError, NotImplementedError) as error:
        raise ConfigurationError(f"{shown}: via={_named(hook.via)}: {error}") from error


def _is_known(kind: type) -> bool:
    """Whether msgspec decodes it by itself."""
    asked: list[object] = []

    def note(*about: object) -> None:
        asked.append(about)

    with suppress(msgspec.MsgspecError, TypeError, ValueError, NotImplementedError, NameError):
        Decoder(kind, dec_hook=note).decode(_NIL)  # nil is nothing that it could be
    return not asked


def _nothing(*_: object) -> None:
    """To be called by nobody."""


def _named(kind: Any) -> str:
    return getattr(kind, "__name__", None) or repr(kind)
