"""Bytes that nobody sends in good faith, the same ones each time for a seed."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from random import Random

import msgspec

from chicory.message import TaskMessage
from chicory.record import TaskResult
from chicory.seal import Seal
from chicory.states import TaskState

CASES = int(os.environ.get("CHICORY_FUZZ", "0"))
"""How many cases each test takes instead of its own few."""
SEED = int(os.environ.get("CHICORY_FUZZ_SEED", "20261124"))

KEY = f"fuzz:{'k' * 32}"
TASKS = ("fuzz.typed", "fuzz.loose", "fuzz.variadic")
_NAMES = (*TASKS, "fuzz.absent", "", "a\x00b", "*", ">", "\N{PILE OF POO}" * 50, "x" * 10_240)
_LENGTHS = (0, 1, 2, 15, 255, 65_535, 2**31 - 1, 2**32 - 1)
_LEADS = bytes(range(0xC0, 0xE0)) + b"\x80\x8f\x90\x9f\xa0\xbf\xff\x00\x7f"


def cases(count: int, seed: int = SEED) -> Iterator[bytes]:
    """So many of them."""
    chance = Random(seed)
    for _ in range(count):
        yield chance.choice(_KINDS)(chance)


def message(chance: Random, name: str | None = None) -> bytes:
    """A message as it ought to be, or nearly."""
    moment = datetime.fromtimestamp(chance.choice([0, 1e9, 4e9]), UTC)
    made = TaskMessage(
        id="a call",
        name=chance.choice(_NAMES) if name is None else name,
        args=chance.choice([[], [1], [1, "two"], [[{"a": None}], 2.5], [b"\xff" * 9, moment]]),
        kwargs=chance.choice([{}, {"a": 1}, {"a": "1", "b": 2}, {"": {"": []}}]),
        retries=chance.choice([0, 1, 2**31, 2**63, 2**64 - 1]),
        eta=chance.choice([None, moment]),
        priority=chance.choice([None, 0, 255]),
        enqueued_at=chance.choice([0.0, -1.0, float("nan"), float("inf"), 1e308]),
        expires_at=chance.choice([None, None, 4e9, float("nan"), float("inf")]),
        first_failure_at=chance.choice([None, moment]),
        last_error=chance.choice([None, "", "\x00\n" * 9]),
        headers=chance.choice([{}, {"a": "b"}, {"\x00": "*" * 300}]),
    )
    return msgspec.msgpack.encode(made)


def result(chance: Random) -> bytes:
    """A result as it ought to be."""
    state = chance.choice(list(TaskState))
    value = chance.choice([None, 1, [1, {"a": 2.5}], "x" * 300])
    return msgspec.msgpack.encode(TaskResult(task_id="a call", state=state, result=value))


def _good(chance: Random) -> bytes:
    return chance.choice((message, result))(chance)


def _noise(chance: Random) -> bytes:
    return chance.randbytes(chance.choice([0, 1, 2, 5, 16, 64, 300]))


def _flipped(chance: Random) -> bytes:
    body = bytearray(_good(chance))
    for _ in range(chance.choice([1, 1, 1, 2, 8])):
        body[chance.randrange(len(body))] ^= 1 << chance.randrange(8)
    return bytes(body)


def _overwritten(chance: Random) -> bytes:
    body = bytearray(_good(chance))
    body[chance.randrange(len(body))] = chance.choice(_LEADS)
    return bytes(body)


def _cut(chance: Random) -> bytes:
    body = _good(chance)
    return body[: chance.randrange(len(body))]


def _grown(chance: Random) -> bytes:
    body, place = _good(chance), chance.randrange(40)
    return body[:place] + _noise(chance) + body[place:]


def _spliced(chance: Random) -> bytes:
    one, two = _good(chance), _good(chance)
    return one[: chance.randrange(len(one))] + two[chance.randrange(len(two)) :]


def _of_the_future(chance: Random) -> bytes:
    items = msgspec.msgpack.decode(_good(chance))
    items[0] = chance.choice([-1, 0, 2, 3, 99, 2**63, 2**64 - 1, 1.0, "1", None, [1], b"1"])
    return msgspec.msgpack.encode(items + [[]] * chance.randrange(3))


def _of_other_types(chance: Random) -> bytes:
    items = msgspec.msgpack.decode(_good(chance))
    odd: list[object] = [None, True, -1, 2**64 - 1, 1e400, "", b"", [], {}, [[]], {"a": 1}, "\x00"]
    items[chance.randrange(len(items))] = chance.choice(odd)
    return msgspec.msgpack.encode(items[: chance.randrange(1, len(items) + 1)])


def _nested(chance: Random) -> bytes:
    depth = chance.choice([3, 100, 900, 1_100, 5_000, 20_000])
    opened = chance.choice([b"\x91", b"\x81\xa1a", b"\x81\x90", b"\x81", b"\xdd\xff\xff\xff\xff"])
    return _head(chance) + opened * depth + chance.choice([b"", b"\xc0", b"\xc0\x80"])


def _boastful(chance: Random) -> bytes:
    """It announces what does not follow."""
    lead = chance.choice([0xC6, 0xC9, 0xDB, 0xDD, 0xDF])
    announced = struct.pack(">BI", lead, chance.choice(_LENGTHS))
    return _head(chance) + announced * chance.choice([1, 1, 3]) + _noise(chance)


def _of_another_time(chance: Random) -> bytes:
    stamp = struct.pack(
        ">BBbIq", 0xC7, 12, -1, chance.getrandbits(32), chance.getrandbits(64) - 2**63
    )
    return b"\x97\x01\xa1a\xaafuzz.typed\x90\x80\x00" + stamp


def _not_utf_8(chance: Random) -> bytes:
    return b"\x93\x01\xa1a\xa4" + chance.choice(
        [b"\xed\xa0\x80a", b"\xc0\x80ab", b"\xff\xfe\xfd\xfc"]
    )


def _large(chance: Random) -> bytes:
    if chance.random() > 0.05:
        return message(chance, "y" * 10_240)
    argument, name = msgspec.msgpack.encode(bytes(300_000)), msgspec.msgpack.encode("k" * 900_000)
    return chance.choice(
        [
            b"\x95\x01\xa1a\xaafuzz.loose\x91" + argument + b"\x80",
            b"\x95\x01\xa1a\xaafuzz.loose\x90\x81" + name + b"\x01",
            b"\x95\x01\xa1a" + name + b"\x90\x80",
        ]
    )


def _sealed(chance: Random) -> bytes:
    body = bytearray(Seal(KEY).close(_good(chance)))
    for _ in range(chance.choice([0, 1, 2])):
        body[chance.randrange(2, len(body))] ^= 1 << chance.randrange(8)
    return bytes(body[: chance.choice([len(body), chance.randrange(len(body))])])


def _head(chance: Random) -> bytes:
    """What comes before the arguments, or the value; or nothing."""
    return chance.choice(
        [
            b"",
            b"\x9d\x01\xa1a\xaafuzz.typed",
            b"\x95\x01\xa1a\xaafuzz.loose\x90",
            b"\x95\x01\xa1a\xaafuzz.loose\x91",
            b"\x94\x01\xa1a\xa7SUCCESS",
            b"\x9f\x01\xa1a\xa1t\x90\x80\x00\xc0\xc0\x00\xc0\xc0\xc0\x80",
        ]
    )


_KINDS: tuple[Callable[[Random], bytes], ...] = (
    message,
    result,
    _noise,
    _flipped,
    _flipped,
    _overwritten,
    _cut,
    _grown,
    _spliced,
    _of_the_future,
    _of_other_types,
    _nested,
    _boastful,
    _of_another_time,
    _not_utf_8,
    _large,
    _sealed,
)
