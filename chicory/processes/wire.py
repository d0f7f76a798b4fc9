"""What a worker and its processes say to each other: msgpack, each frame behind its length."""

from __future__ import annotations

import struct
from typing import TypeAlias

import msgspec
from msgspec import Raw, Struct

from chicory.progress import Progress
from chicory.rules import RetryRules

_LENGTH = struct.Struct(">I")


class _Said(Struct, frozen=True, array_like=True, tag=True):
    """One frame."""


# -- by the worker ------------------------------------------------------------------------


class Prepare(_Said, frozen=True):
    """The first thing that a process hears.

    Attributes:
        path: where Python looks for modules: ``sys.path``, each as the bytes of ``os.fsencode``.
        modules: those to have ready; one that cannot be imported is told of when it is needed.
        levels: of loggers, by name; the root's is under ``""``.
    """

    path: list[bytes]
    modules: list[str]
    levels: dict[str, int]


class Call(_Said, frozen=True):
    """Run a task, once.

    Attributes:
        module, qualname: where its function is.
        name: the task's.
        args, kwargs: still encoded.
        check: whether the result must fit the signature.
        labels: what log lines say of it.
        task_id, retries, rules, queue, worker_id, headers, enqueued_at, started_at, limit: what
            the task is told in its context.
        reports: whether anybody hears of its progress.
        max_size: bytes that the result may have; a larger one does not travel.
    """

    module: str
    qualname: str
    name: str
    args: Raw
    kwargs: Raw
    check: bool
    labels: dict[str, str | int]
    task_id: str
    retries: int
    rules: RetryRules
    queue: str
    worker_id: str
    headers: dict[str, str]
    enqueued_at: float
    started_at: float
    limit: float | None
    reports: bool
    max_size: int


Order: TypeAlias = Prepare | Call


# -- by the process -----------------------------------------------------------------------


class Ready(_Said, frozen=True):
    """It waits for calls."""


class Value(_Said, frozen=True):
    """The function returned; its value, encoded.

    As bytes, which ``answer`` reads whatever is in them; of ``Raw`` it would follow each level.
    """

    packed: bytes


class Misfit(_Said, frozen=True):
    """The arguments, or the result, do not fit; ``reason`` as in ``DeathReason``."""

    reason: str
    error: str


class Error(_Said, frozen=True):
    """An exception in words.

    Attributes:
        type_name, message, traceback: as people read of it.
        kinds: the names of its class and of those above it, with and without their module.
        wanted: what a ``retry_on`` that is a function says of it.
    """

    type_name: str
    message: str
    traceback: str
    kinds: list[str]
    wanted: bool | None = None


class Fault(_Said, frozen=True):
    """The function raised."""

    error: Error


class Again(_Said, frozen=True):
    """It asked for another attempt. ``last``: but none was left."""

    error: Error
    countdown: float | None
    last: bool


class GivenUp(_Said, frozen=True):
    """It asked for the end of the call."""

    error: Error


class Snooze(_Said, frozen=True):
    """It asked for the same attempt, later."""

    seconds: float


class Report(_Said, frozen=True):
    """It reported progress."""

    progress: Progress


class Line(_Said, frozen=True):
    """It logged something: the attributes of a ``LogRecord``, encoded."""

    attributes: bytes


Outcome: TypeAlias = Value | Misfit | Fault | Again | GivenUp | Snooze
Answer: TypeAlias = Outcome | Ready | Report | Line

_encoder = msgspec.msgpack.Encoder()
order = msgspec.msgpack.Decoder[Order](Order).decode
"""Read what the worker says."""
answer = msgspec.msgpack.Decoder[Answer](Answer).decode
"""Read what a process says."""


def frame(said: Order | Answer) -> bytes:
    """The bytes that travel."""
    body = _encoder.encode(said)
    return _LENGTH.pack(len(body)) + body


class Inbox:
    """Takes the bytes of a stream as they come, and gives the frames that are whole."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The frames that these bytes complete, without their lengths."""
        rest, found, start = self._rest, list[bytes](), 0
        rest += data
        while len(rest) - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(rest, start)
            begin = start + _LENGTH.size
            if len(rest) - begin < length:
                break
            start = begin + length
            found.append(bytes(memoryview(rest)[begin:start]))
        del rest[:start]
        return found
