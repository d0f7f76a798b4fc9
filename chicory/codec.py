"""msgpack through msgspec, for every type that a task may take or return.

Natively: builtins, dataclasses, Structs, attrs classes, TypedDict, NamedTuple, enums, datetime,
timedelta, Decimal, UUID, bytes. Pydantic models travel as what ``model_dump()`` gives and are
validated by ``model_validate``. Nothing is ever pickled.
"""

from __future__ import annotations

import sys
from typing import Any, cast

import msgspec
from msgspec.msgpack import Decoder, Encoder


def _encode_other(value: object) -> object:
    pydantic = sys.modules.get("pydantic")  # who has a model has imported it
    if pydantic is not None and isinstance(value, pydantic.BaseModel):
        return cast("Any", value).model_dump()
    raise TypeError(f"{type(value).__module__}.{type(value).__qualname__} cannot be sent")


def _decode_other(kind: type, value: object) -> object:
    pydantic = sys.modules.get("pydantic")
    if pydantic is not None and issubclass(kind, pydantic.BaseModel):
        return cast("Any", kind).model_validate(value)
    raise TypeError(f"{kind.__module__}.{kind.__qualname__} cannot be received")


def decoder(kind: Any) -> Decoder[Any]:
    """A decoder that gives values of ``kind``, strictly. Raises ``TypeError`` for no such type."""
    return Decoder(kind, dec_hook=_decode_other)


_encoder = Encoder(enc_hook=_encode_other)
encode = _encoder.encode
"""Encode one value. Raises ``ENCODE_ERRORS``."""

ENCODE_ERRORS = (TypeError, ValueError, OverflowError, RecursionError)
DECODE_ERRORS = (msgspec.DecodeError, TypeError, ValueError, OverflowError, RecursionError)
"""What hostile or unfitting bytes may raise; UnicodeDecodeError is a ValueError."""
