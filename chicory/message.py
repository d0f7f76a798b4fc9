"""The message: one call of a task, as users see it and as it travels.

The wire format is described byte by byte in ``docs/wire-format.md``: a msgpack array whose first
item is the version. Fields are only ever appended; a reader ignores what it does not know.
"""

from __future__ import annotations

import os
import struct
import time
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw, Struct

from chicory import codec
from chicory.accepted import is_plain
from chicory.codec import Codec
from chicory.errors import MessageError, MessageVersionError
from chicory.rules import RetryRules
from chicory.transport import MAX_NAME, Unique

VERSION = 1
MAX_RETRIES = 2**31 - 1
"""More than any policy allows, and less than what some broker cannot count."""


def new_id() -> str:
    """A new identity: 32 hex digits, a UUID of version 7 (RFC 9562), in order of time.

    To a quarter of a microsecond: RFC 9562, section 6.2, method 3.
    """
    return _HALVES.pack(_moment(), _VARIANT | (_random() >> 2)).hex()


def new_ids(number: int) -> list[str]:
    """As many new identities of one moment, in order: random ones, a random step apart."""
    first, step = _VARIANT | (_random() >> 3), (_random() >> 3) // number + 1
    high = _moment().to_bytes(8, "big").hex()
    lows = struct.pack(f">{number}Q", *range(first, first + number * step, step))
    return [high + low for low in lows.hex(" ", 8).split(" ")]


def _moment() -> int:
    milliseconds, rest = divmod(time.time_ns(), 1_000_000)
    return (milliseconds << 16) | 0x7000 | rest * 4096 // 1_000_000


def _random() -> int:
    """64 random bits of the system's, which is asked once for many ids."""
    while True:
        try:
            return _drawn.pop()  # each used once, whatever the number of threads
        except IndexError:
            _drawn.extend(_DRAW.unpack(os.urandom(_DRAW.size)))


_HALVES = struct.Struct(">QQ")
_VARIANT = 0x8000_0000_0000_0000
_DRAW = struct.Struct("64Q")
_drawn: list[int] = []
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_drawn.clear)


class PastFailure(Struct, frozen=True, array_like=True):
    """What an earlier attempt failed of.

    Attributes:
        at: when; seconds since the epoch.
        error_type: the exception's class, with its module; empty where that is not known.
        error: the begin of its message.
    """

    at: float
    error_type: str
    error: str


MAX_FAILURES = 10
"""Failures that a message remembers: the first one, and the latest."""
MAX_REMEMBERED = 256
"""Characters that it remembers of each one's message."""


def remember(failures: list[PastFailure], latest: PastFailure) -> list[PastFailure]:
    """The failures with the latest one added, within the bounds."""
    short = msgspec.structs.replace(latest, error=latest.error[:MAX_REMEMBERED])
    if len(failures) < MAX_FAILURES:
        return [*failures, short]
    return [failures[0], *failures[2 - MAX_FAILURES :], short]


class TaskMessage(Struct, kw_only=True, array_like=True):
    """One call of a task.

    Attributes:
        version: of the wire format.
        id: identity of the call; kept by its retries.
        name: the task's name.
        args: positional arguments.
        kwargs: keyword arguments.
        retries: attempts made so far, less one.
        eta: not to be run before; without a time zone it is taken as UTC.
        priority: 0 low, 1 normal, 2 or more high; ``None`` is normal.
        enqueued_at: when it was first published; seconds since the epoch.
        expires_at: not to be begun after; seconds since the epoch, ``None`` for never.
        first_failure_at: when the first attempt failed; without a time zone it is taken as UTC.
        last_error: the message of the last attempt's exception.
        headers: the user's own notes; they travel with the call.
        timeout: seconds that an attempt may take, 0 for no limit; ``None``: as the task has it.
        retry_policy: the call's own retry policy; ``None``: as the task has it.
        unique: the key that the call holds until it is settled; ``None``: none.
        failures: of the attempts made so far, oldest first; of many the first and the latest.
    """

    version: int = VERSION
    id: Annotated[str, Meta(min_length=1, max_length=MAX_NAME)]
    name: Annotated[str, Meta(max_length=MAX_NAME)]
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    retries: Annotated[int, Meta(ge=0, le=MAX_RETRIES)] = 0
    eta: datetime | None = None
    priority: Annotated[int, Meta(ge=0, le=255)] | None = None
    enqueued_at: float = 0.0
    expires_at: float | None = None
    first_failure_at: datetime | None = None
    last_error: str | None = None
    headers: dict[str, str] = {}
    timeout: Annotated[float, Meta(ge=0)] | None = None
    retry_policy: RetryRules | None = None
    unique: Unique | None = None
    failures: list[PastFailure] = []


class Envelope(TaskMessage, kw_only=True, array_like=True):
    """The same message with its arguments still encoded: what producers and workers handle."""

    args: Raw = Raw(b"\x90")  # pyright: ignore[reportIncompatibleVariableOverride]
    kwargs: Raw = Raw(b"\x80")  # pyright: ignore[reportIncompatibleVariableOverride]


_envelope = msgspec.msgpack.Decoder(Envelope)
_message = msgspec.msgpack.Decoder(TaskMessage)
_items = msgspec.msgpack.Decoder(list[Raw])


def encode(message: TaskMessage, types: Codec = codec.PLAIN) -> bytes:
    """The bytes of a message. Raises ``MessageError`` for arguments that cannot be sent."""
    try:
        return types.encode(message)
    except codec.ENCODE_ERRORS as error:
        raise MessageError(
            f"message for task {message.name!r} cannot be encoded: {error}"
        ) from error


def decode(body: bytes) -> Envelope:
    """Read a message, its arguments left encoded, its moments in a time zone.

    Raises:
        MessageVersionError: a newer chicory wrote it.
        MessageError: these bytes are no message.
    """
    try:
        envelope = _envelope.decode(body)
    except codec.DECODE_ERRORS as error:
        _refuse_newer(body)
        raise MessageError(f"not a chicory message: {error}") from error
    if envelope.version > VERSION:
        raise _version_error(envelope.version)
    if envelope.version < VERSION:
        raise MessageError(f"not a chicory message: there is no format {envelope.version}")
    envelope.eta = in_utc(envelope.eta)
    envelope.first_failure_at = in_utc(envelope.first_failure_at)
    return envelope


def in_utc(moment: datetime | None) -> datetime | None:
    """The same moment with a time zone: without one it is taken as UTC."""
    return moment if moment is None or moment.tzinfo else moment.replace(tzinfo=UTC)


def decode_whole(body: bytes) -> TaskMessage:
    """Read a message and its arguments, as plain values. Raises as ``decode`` does."""
    envelope = decode(body)
    try:
        return _message.decode(body)
    except codec.DECODE_ERRORS as error:
        raise MessageError(f"arguments of {envelope.name!r} cannot be read: {error}") from error


def check(message: TaskMessage, types: Codec = codec.PLAIN) -> TaskMessage:
    """The message as a worker will read it, its arguments plain values.

    Raises ``MessageError`` that names the attribute for which no worker could, or should.
    """
    for name in ("id", "name"):
        value: object = getattr(message, name)
        if isinstance(value, str) and not is_plain(value):
            raise MessageError(f"TaskMessage({name}={value!r}): must be without control characters")
    body = encode(message, types)
    try:
        return decode_whole(body)
    except MessageVersionError:
        raise
    except MessageError as error:
        raise _with_attribute(error) from error


def _with_attribute(error: MessageError) -> MessageError:
    """The same, with the name of the attribute in place of its number."""
    text, found, rest = str(error).rpartition(" - at `$[")
    number, _, _ = rest.partition("]")
    if not found or not number.isdecimal():
        return error
    attribute = TaskMessage.__struct_fields__[int(number)]
    return MessageError(f"TaskMessage({attribute}=...): {text.rpartition(': ')[2]}")


def _refuse_newer(body: bytes) -> None:
    try:
        version = codec.decoder(int).decode(_items.decode(body)[0])
    except (*codec.DECODE_ERRORS, IndexError):
        return
    if version > VERSION:
        raise _version_error(version)


def _version_error(version: int) -> MessageVersionError:
    return MessageVersionError(
        f"message of format {version}, this worker reads {VERSION}: upgrade it, then replay"
    )
