"""What all calls of a task with the same options have in common: checked and encoded once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from struct import Struct
from typing import Any

from msgspec.structs import astuple

from chicory import codec
from chicory import message as messages
from chicory.broker import Broker
from chicory.call import compose, outline
from chicory.message import Envelope, new_id, new_ids
from chicory.names import check_plain
from chicory.options import CallOptions
from chicory.publication import level
from chicory.signature import Signature
from chicory.transport import Publication

_pack_float = Struct(">Bd").pack
_FLOAT = 0xCB
NO_ID = "0" * 32
_TEXT_OF_32 = b"\xd9\x20"
"""Begins an id."""


class Template:
    """Makes the publications of such calls.

    Where neither a moment nor a key is part of the message, two of them differ in no more than
    their ids, arguments and times: these are put between bytes that are always the same.

    Attributes:
        alike: whether that is so, and no seal is put on them either.
        frame: the bytes of such a message that are not its arguments.

    Raises as ``Broker.prepare`` does.
    """

    def __init__(
        self, signature: Signature, options: CallOptions, broker: Broker, *, check: bool
    ) -> None:
        self._signature = signature
        self._options = options
        self._broker = broker
        self._check = check
        self._encode = signature.encode
        self._room = broker.room
        self._priority = level(options.priority)
        check_plain(options.queue, "queue")
        self._between = (
            None if _varies(options) else _between(outline(signature.name, options, 0.0))
        )
        self.alike = self._between is not None and self._room > 0
        self.frame = sum(map(len, self._between or ())) + len(NO_ID) + len(_pack_float(_FLOAT, 0))

    def publication(
        self, args: Sequence[Any], kwargs: Mapping[str, Any], now: float
    ) -> Publication:
        """What to publish for a call with these arguments at the time ``now``.

        Raises as ``Sender.send``.
        """
        options = self._options
        if self._between is None:
            message = compose(self._signature, options, args, kwargs, now, check=self._check)
            return self._broker.prepare(message, options.queue)
        packed_args, packed_kwargs = self._encode(args, kwargs, check=self._check)
        task_id = new_id()
        first, second, third, last = self._between
        time = _pack_float(_FLOAT, now)
        parts = first, task_id.encode(), second, packed_args, packed_kwargs, third, time, last
        body = self._enclosed(b"".join(parts))
        return Publication(options.queue, task_id, body, self._priority)

    def pack(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bytes:
        """These arguments, for ``publications``. Raises as ``publication``; only if ``alike``."""
        packed_args, packed_kwargs = self._encode(args, kwargs, check=self._check)
        packed = packed_args + packed_kwargs
        if self.frame + len(packed) > self._room:
            self._enclosed(self._bodies([NO_ID], [packed], 0.0)[0])
        return packed

    def publications(self, packed: Sequence[bytes], now: float) -> list[Publication]:
        """What to publish for calls with such arguments at the time ``now``."""
        queue, priority, task_ids = self._options.queue, self._priority, new_ids(len(packed))
        return [
            Publication(queue, task_id, body, priority)
            for task_id, body in zip(task_ids, self._bodies(task_ids, packed, now), strict=True)
        ]

    def _bodies(
        self, task_ids: Sequence[str], packed: Sequence[bytes], now: float
    ) -> Sequence[bytes]:
        assert self._between is not None
        first, second, third, last = self._between
        rest = third + _pack_float(_FLOAT, now) + last
        return [
            b"".join((first, task_id.encode(), second, arguments, rest))
            for task_id, arguments in zip(task_ids, packed, strict=True)
        ]

    def _enclosed(self, body: bytes) -> bytes:
        if len(body) <= self._room:
            return body
        return self._broker.enclose(body, self._signature.name)


def _varies(options: CallOptions) -> bool:
    """Whether the moment, or the arguments, decide on more of the message than themselves."""
    deciding = (options.delay, options.eta, options.expires, options.unique)
    return any(one is not None for one in deciding)


def _between(common: Envelope) -> tuple[bytes, bytes, bytes, bytes]:
    """The bytes before, between and after the id, the arguments and the time."""
    packed = [codec.encode(value) for value in astuple(common)]
    whole = messages.encode(common)
    head = whole[: len(whole) - sum(map(len, packed))]
    at = common.__struct_fields__.index
    return (
        b"".join([head, *packed[: at("id")], _TEXT_OF_32]),
        b"".join(packed[at("id") + 1 : at("args")]),
        b"".join(packed[at("kwargs") + 1 : at("enqueued_at")]),
        b"".join(packed[at("enqueued_at") + 1 :]),
    )
