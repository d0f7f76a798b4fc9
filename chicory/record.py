"""What is stored about a call: its result, its failure, or that it will be retried."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from msgspec import Raw, Struct

from chicory import codec
from chicory.codec import Codec
from chicory.errors import MessageError, MessageVersionError, TaskCancelledError, TaskError
from chicory.states import TaskState

VERSION = 1
_NIL = b"\xc0"


class TaskResult(Struct, kw_only=True, array_like=True):
    """The outcome of a call, as stored.

    Attributes:
        version: of the format.
        task_id: the call.
        state: what it came to; RETRY while another attempt is due.
        result: the return value, where the task succeeded.
        error: the message of the exception, where it failed.
        error_type: the exception's class, with its module.
        traceback: the remote traceback as text.
        name: the task's name.
        retries: attempts made, less one.
        started_at: begin of the last attempt; seconds since the epoch.
        finished_at: its end.
        worker_id: who made it.
    """

    version: int = VERSION
    task_id: str
    state: TaskState
    result: Any = None
    error: str | None = None
    error_type: str | None = None
    traceback: str | None = None
    name: str = ""
    retries: int = 0
    started_at: float = 0.0
    finished_at: float = 0.0
    worker_id: str = ""


class StoredResult(TaskResult, kw_only=True, array_like=True):
    """The same with the return value still encoded: who asks knows its type."""

    result: Raw = Raw(_NIL)

    def failure(self) -> TaskError:
        """The error that ``get`` raises for a call that failed."""
        kind = TaskCancelledError if self.state is TaskState.CANCELLED else TaskError
        error = kind(
            self.task_id,
            self.error_type or self.state.value,
            self.error or "",
            self.traceback or "",
        )
        if self.traceback:
            error.add_note(f"In the worker {self.worker_id}:\n\n{self.traceback}")
        return error


T = TypeVar("T", bound=TaskResult)

_stored = msgspec.msgpack.Decoder(StoredResult)
_plain = msgspec.msgpack.Decoder(TaskResult)


def encode(result: TaskResult, types: Codec = codec.PLAIN) -> bytes:
    """The bytes of a record. Raises ``codec.ENCODE_ERRORS`` for a value that cannot be sent."""
    return types.encode(result)


def decode(body: bytes) -> StoredResult:
    """Read a record, its value left encoded.

    Raises:
        MessageVersionError: a newer chicory wrote it.
        MessageError: these bytes are no record.
    """
    return _decode(_stored, body)


def decode_plain(body: bytes) -> TaskResult:
    """Read a record and its value, as plain values. Raises as ``decode`` does."""
    return _decode(_plain, body)


def _decode(decoder: msgspec.msgpack.Decoder[T], body: bytes) -> T:
    try:
        result = decoder.decode(body)
    except codec.DECODE_ERRORS as error:
        raise MessageError(f"not a chicory result: {error}") from error
    if result.version > VERSION:
        raise MessageVersionError(
            f"result of format {result.version}, this chicory reads {VERSION}: upgrade it"
        )
    return result
