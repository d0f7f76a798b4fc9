"""msgpack through msgspec, for every type that a task may take or return.

Natively: builtins, dataclasses, Structs, attrs classes, TypedDict, NamedTuple, enums, datetime,
timedelta, Decimal, UUID, bytes. Pydantic models travel as what ``model_dump()`` gives, by the
names of their fields, and are validated by ``model_validate``; paths, IP addresses and pydantic's
URLs travel as text. What an app has registered hooks for travels as they say, before all that.
Nothing is ever pickled.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from functools import cache
from typing import Any, cast, get_origin

import msgspec
from msgspec.msgpack import Decoder, Encoder

from chicory.hooks import Hook, Hooks

_TEXT_IN = frozenset({"pathlib", "pathlib._local", "ipaddress"})
_HANDLE = "chicory.result.AsyncResult"
_TEXT_OUT = _TEXT_IN | {"pydantic.networks", "pydantic_core._pydantic_core"}


class Codec:
    """Encodes and decodes values of every type that may travel.

    Attributes:
        hooks: of the types that are an app's own.
    """

    def __init__(self) -> None:
        self.hooks = Hooks()
        self.encode = Encoder(enc_hook=self.reduce).encode
        """Encode one value. Raises ``ENCODE_ERRORS``."""

    def decoder(self, kind: Any) -> Decoder[Any]:
        """A decoder that gives values of ``kind``, strictly.

        Raises ``TypeError`` for no such type.
        """
        return Decoder(kind, dec_hook=self._restore)

    def reduce(self, value: object) -> object:
        """What travels in place of a value that msgspec does not know. Raises ``TypeError``."""
        hook = self.hooks.of(type(value))
        if hook is None:
            return _reduce(value)
        reduced = _asked(hook, hook.encode, value)
        if isinstance(reduced, hook.kind):
            raise TypeError(f"{hook.kind.__name__}: encode gives no other type")
        return reduced

    def _restore(self, kind: Any, value: object) -> object:
        origin = get_origin(kind) or kind
        hook = self.hooks.of(origin) if isinstance(origin, type) else None
        if hook is None:
            return _restore(kind, value)
        return _asked(hook, lambda value: self._decoded(hook, kind, value), value)

    def _decoded(self, hook: Hook, kind: Any, value: object) -> object:
        via = hook.via_of(kind)
        return hook.decode(msgspec.convert(value, via, dec_hook=self._restore))


def _asked(hook: Hook, ask: Callable[[Any], object], value: object) -> object:
    try:
        return ask(value)
    except Exception as error:  # the user's code; of a ValueError msgspec says where it was
        raise ValueError(f"{hook.kind.__name__}: {reason(error)}") from error


def _reduce(value: object) -> object:
    kind = type(value)
    if _is_model(kind):
        return cast("Any", value).model_dump(round_trip=True)
    if kind.__module__ in _TEXT_OUT and kind.__str__ is not object.__str__:
        return str(value)
    raise TypeError(f"{_named(kind)} cannot be sent{_advice(kind)}")


def _restore(kind: Any, value: object) -> object:
    if kind is object:
        return value
    if not isinstance(kind, type):
        raise TypeError(f"{kind} cannot be received")
    if _is_model(kind):
        return _validate(kind, value)
    if kind.__module__ not in _TEXT_IN:
        raise TypeError(f"{_named(kind)} cannot be received{_advice(kind)}")
    if not isinstance(value, str):
        raise TypeError(f"{_named(kind)} cannot be received as anything but text")
    return cast("Any", kind)(value)


def _named(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _advice(kind: type) -> str:
    if kind is object:
        return ""
    if _named(kind) == _HANDLE:
        return ": send its task_id, which app.result(...) makes a handle of"
    return f" without app.register_type({kind.__name__}, encode=..., decode=...)"


def _is_model(kind: type) -> bool:
    pydantic = sys.modules.get("pydantic")  # who has a model has imported it
    return pydantic is not None and issubclass(kind, pydantic.BaseModel)


def _validate(kind: Any, value: object) -> object:
    pydantic = sys.modules["pydantic"]
    try:
        return kind.model_validate(value, **_options(kind))
    except pydantic.ValidationError as error:
        raise ValueError(_reasons(error)) from None


@cache
def _options(model: Any) -> dict[str, bool]:
    options: dict[str, bool] = {}
    if model.model_config.get("strict"):
        options["strict"] = False  # msgpack has made a str of its Decimal, a list of its tuple
    if "by_name" in inspect.signature(model.model_validate).parameters:  # pydantic 2.11 and newer
        options.update(by_name=True, by_alias=True)
    return options


def _reasons(error: Any) -> str:
    """Where and why, in one line, without the values: they may be secret."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(
        f"{'.'.join(map(str, one['loc']))}: {one['msg']}" if one["loc"] else one["msg"]
        for one in found
    )


PLAIN = Codec()
"""Without hooks, for what is not a user's."""
encode, decoder = PLAIN.encode, PLAIN.decoder

ENCODE_ERRORS = (TypeError, ValueError, OverflowError, RecursionError)
DECODE_ERRORS = (msgspec.DecodeError, TypeError, ValueError, OverflowError, RecursionError)
"""What hostile or unfitting bytes may raise; UnicodeDecodeError is a ValueError."""

_PLAIN = (msgspec.MsgspecError, ValueError, TypeError, RecursionError, OverflowError)


def reason(error: Exception) -> str:
    """What to say of it; the class, too, where the text is not meant to stand alone."""
    text = str(error)
    return text if text and isinstance(error, _PLAIN) else f"{type(error).__name__}: {text}"


def sendable(text: str) -> str:
    """The text with what has no UTF-8 written out: lone surrogates, as in names of files."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
