"""Dead letters."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from msgspec import msgpack

from chicory.transport import DeadLetter, Publication
from chicory_redis.publishing import encode
from chicory_redis.server import Server

_MOST = 128
_REMEMBERED = 1000
_decoder = msgpack.Decoder(DeadLetter)


class Places:
    """Where the last letters of pages were, to go on from there also when one is gone."""

    def __init__(self) -> None:
        self._serials: OrderedDict[str, str] = OrderedDict()

    def note(self, letter_id: str, serial: str) -> None:
        """Remember one."""
        self._serials[letter_id] = serial
        if len(self._serials) > _REMEMBERED:
            self._serials.popitem(last=False)

    def get(self, letter_id: str) -> str:
        """The serial; before all others where it is not remembered."""
        return self._serials.get(letter_id, "-inf")


def pack(letter: DeadLetter) -> bytes:
    """A letter as it is stored."""
    return msgpack.encode(letter)


def _unpack(stored: bytes) -> DeadLetter:
    length, _, rest = stored.partition(b":")
    return _decoder.decode(rest[int(length) :])


async def page(
    server: Server, places: Places, queue: str | None, after: str | None, limit: int
) -> list[DeadLetter]:
    """The letters that follow ``after``."""
    place = "-inf" if after is None else places.get(after)
    answer = await server.run("letters_page", queue or "", after or "", place, max(0, limit))
    found = [_unpack(stored) for stored in answer[2::3]]
    if found:
        places.note(found[-1].id, answer[-2].decode())
    return found


async def find(server: Server, letter_ids: Sequence[str]) -> list[DeadLetter | None]:
    """Letters by id."""
    if not letter_ids:
        return []
    stored = await server.command("HMGET", f"{server.base}:y", *letter_ids)
    return [None if one is None else _unpack(one) for one in stored]


async def replay(server: Server, items: Sequence[tuple[str, Publication]]) -> list[bool]:
    """Exchange letters for messages."""
    answers: list[bool] = []
    for start in range(0, len(items), _MOST):
        arguments: list[Any] = []
        for letter_id, publication in items[start : start + _MOST]:
            arguments += (letter_id, *encode(publication))
        answers += map(bool, await server.run_once("replay", *arguments))
    return answers


async def discard(server: Server, letter_ids: Sequence[str]) -> list[bool]:
    """Delete letters."""
    answers: list[bool] = []
    for start in range(0, len(letter_ids), _MOST):
        found = await server.run_once("discard", *letter_ids[start : start + _MOST])
        answers += map(bool, found)
    return answers
