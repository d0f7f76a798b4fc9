"""No bytes make a decoder do anything but read them or say no; ``CHICORY_FUZZ`` tries more."""

import tracemalloc
from collections.abc import Iterator
from contextlib import suppress

import pytest
from fuzz.hostile import CASES, KEY, cases

from chicory import codec, message, record, stats
from chicory.errors import MessageError, ValidationError
from chicory.seal import Seal, unsealed
from chicory.signature import Signature
from chicory.transport import WorkerRecord

FEW = 8_000
ROOM = 1 << 20


def _typed(a: int, b: dict[str, list[float]] | None = None) -> None: ...
def _loose(a: object, b: object = None) -> None: ...
def _variadic(*args: int, **kwargs: str) -> None: ...


SIGNATURES = [Signature(task.__name__, task) for task in (_typed, _loose, _variadic)]

SEALS = [Seal(), Seal(KEY), Seal(KEY, required=False)]


def read_message(body: bytes) -> None:
    """What a worker does with a message."""
    with suppress(MessageError):
        message.decode_whole(unsealed(body))
    for seal in SEALS:
        with suppress(MessageError):
            message.decode(seal.open(body))
    with suppress(MessageError):
        envelope = message.decode(body)
        assert message.decode(message.encode(envelope)).name == envelope.name
        for signature in SIGNATURES:
            with suppress(ValidationError):
                signature.decode(envelope.args, envelope.kwargs)


def read_result(body: bytes) -> None:
    """What one who waits does with a record."""
    with suppress(MessageError):
        record.decode_plain(body)
    with suppress(MessageError):
        stored = record.decode(body)
        stored.failure()
        assert record.decode(record.encode(stored)).state is stored.state
        with suppress(*codec.DECODE_ERRORS):
            codec.decoder(object).decode(stored.result)


def read_heartbeat(body: bytes) -> None:
    """What ``chicory workers`` does."""
    heartbeat = WorkerRecord("w", (), body)
    with suppress(MessageError):
        stats.read(heartbeat)
    stats.has_stopped(heartbeat)


READERS = [read_message, read_result, read_heartbeat]


def every() -> Iterator[bytes]:
    return cases(CASES or FEW)


@pytest.mark.parametrize("read", READERS)
def test_hostile_bytes_are_read_or_refused(read):
    for body in every():
        try:
            read(body)
        except BaseException as error:
            error.add_note(f"the bytes: {body[:2000].hex()}")
            raise


@pytest.mark.parametrize("read", READERS)
def test_what_bytes_announce_is_not_believed(read):
    tracemalloc.start()
    try:
        for body in cases(CASES // 50 or 400):
            before, _ = tracemalloc.get_traced_memory()
            tracemalloc.reset_peak()
            read(body)
            _, peak = tracemalloc.get_traced_memory()
            assert peak - before < ROOM + 64 * len(body), body[:2000].hex()
    finally:
        tracemalloc.stop()
