"""Reads the threads of calls, so that nothing is left to do of what somebody began."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

from chicory_nats.leading import LeaderReader
from chicory_nats.reading import Reader
from chicory_nats.sequel import Sequel
from chicory_nats.subjects import Subjects
from chicory_nats.thread import Thread, threads
from chicory_nats.wire import Request


class Threads:
    """The threads of a namespace.

    Args:
        store: stores messages, also where the server has no more room; their sequence numbers.
    """

    def __init__(
        self,
        subjects: Subjects,
        reader: Reader | LeaderReader,
        store: Callable[[Sequence[Request]], Awaitable[Sequence[int]]],
    ) -> None:
        self._subjects = subjects
        self._reader = reader
        self._store = store

    async def look(self, calls: Iterable[bytes]) -> dict[bytes, Thread]:
        """The threads of calls, as they are once all is stored that follows an outcome."""
        found = await self._read(list(dict.fromkeys(calls)))
        followed: set[int] = set()
        while begun := [one for one in _begun(found) if one.outcome not in followed]:
            await self._store([one.request(self._subjects) for one in begun])
            followed.update(one.outcome for one in begun)
            found |= await self._read([one.call for one in begun])
        return found

    async def look_after(self, seqs: Mapping[bytes, int]) -> dict[bytes, Thread]:
        """The threads of calls, by call the sequence number of a message that is in them.

        Who may have been delivered a message before the leader of the stream stored it must not
        take it for one that is there no more.
        """
        if not seqs:
            return {}
        last = max(seqs.values())
        while True:
            leader = await self._reader.reach(last)
            found = await self.look(seqs)
            if await self._reader.reach(last) == leader:
                return found

    async def _read(self, calls: Sequence[bytes]) -> dict[bytes, Thread]:
        if not calls:
            return {}
        stored = await self._reader.last([self._subjects.thread(call) for call in calls])
        return threads(stored, calls)


def _begun(found: Mapping[bytes, Thread]) -> Iterable[Sequel]:
    """What is still to be stored, as far as anybody can tell: its message is not acknowledged."""
    sequels = (thread.sequel for thread in found.values())
    return (sequel for sequel in sequels if sequel is not None)
