"""Queues as wholes: counted, paused, purged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from chicory.transport import Counts
from chicory_redis.server import Server

_MOST = 500
_EMPTY = Counts()


async def counts(server: Server, queues: Sequence[str] | None) -> Mapping[str, Counts]:
    """Count these queues, or all that hold something or are paused."""
    if queues is None:
        everything = _decode(await server.run("counts"))
        return {name: each for name, each in everything.items() if each != _EMPTY}
    found: dict[str, Counts] = {}
    for start in range(0, len(queues), _MOST):
        found |= _decode(await server.run("counts", *queues[start : start + _MOST]))
    return found


def _decode(answer: Sequence[bytes | int]) -> dict[str, Counts]:
    found: dict[str, Counts] = {}
    for start in range(0, len(answer), 6):
        name, ready, delayed, leased, dead, paused = answer[start : start + 6]
        assert isinstance(name, bytes)
        found[name.decode()] = Counts(
            int(ready), int(delayed), int(leased), int(dead), bool(paused)
        )
    return found


async def purge(server: Server, queue: str, *, dead: bool) -> int:
    """Delete what is there, some hundred at once."""
    total = 0
    while True:
        gone = await server.run("purge_dead" if dead else "purge", queue, _MOST)
        total += gone
        if gone < _MOST:
            return total


async def pause(server: Server, queue: str, *, paused: bool) -> None:
    """Stop or resume delivery."""
    await server.run("pause", queue, int(paused))
