"""msgpack through msgspec, for every type that a task may take or return.

Natively: builtins, dataclasses, Structs, attrs classes, TypedDict, NamedTuple, enums, datetime,
timedelta, Decimal, UUID, bytes. Pydantic models travel as what ``model_dump()`` gives, by the
names of their fields, and are validated by ``model_validate``; paths, IP addresses and pydantic's
URLs travel as text. Nothing is ever pickled.
"""

from __future__ import annotations

import inspect
import sys
from functools import cache
from typing import Any, cast

import msgspec
from msgspec.msgpack import Decoder, Encoder

_TEXT_IN = frozenset({"pathlib", "pathlib._local", "ipaddress"})
_TEXT_OUT = _TEXT_IN | {"pydantic.networks", "pydantic_core._pydantic_core"}


def _encode_other(value: object) -> object:
    kind = type(value)
    if _is_model(kind):
        return cast("Any", value).model_dump(round_trip=True)
    if kind.__module__ in _TEXT_OUT and kind.__str__ is not object.__str__:
        return str(value)
    raise TypeError(f"{kind.__module__}.{kind.__qualname__} cannot be sent")


def _decode_other(kind: Any, value: object) -> object:
    if kind is object:
        return value
    if not isinstance(kind, type):
        raise TypeError(f"{kind} cannot be received")
    if _is_model(kind):
        return _validate(kind, value)
    if kind.__module__ in _TEXT_IN and isinstance(value, str):
        return cast("Any", kind)(value)
    raise TypeError(f"{kind.__module__}.{kind.__qualname__} cannot be received")


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


def decoder(kind: Any) -> Decoder[Any]:
    """A decoder that gives values of ``kind``, strictly. Raises ``TypeError`` for no such type."""
    return Decoder(kind, dec_hook=_decode_other)


_encoder = Encoder(enc_hook=_encode_other)
encode = _encoder.encode
"""Encode one value. Raises ``ENCODE_ERRORS``."""

ENCODE_ERRORS = (TypeError, ValueError, OverflowError, RecursionError)
DECODE_ERRORS = (msgspec.DecodeError, TypeError, ValueError, OverflowError, RecursionError)
"""What hostile or unfitting bytes may raise; UnicodeDecodeError is a ValueError."""
