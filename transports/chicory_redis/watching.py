"""Watching records: each one is pushed, in order, and none is missed.

What is told on the channel is passed on as it comes. What is stored already is looked up once
the channel is heard, and passed on only where nothing newer was told until after the look: where
all has been told by then nobody waits for its end.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from typing import TypeAlias

from chicory_redis import keys, records
from chicory_redis.listener import Listener
from chicory_redis.operations import Operations
from chicory_redis.resending import Resending
from chicory_redis.server import Server
from chicory_redis.translation import Lost

Sink: TypeAlias = Callable[[str, bytes], None]


class Sinks:
    """Who is to be called for which record. Lives on the user's event loop.

    Args:
        call_back: has a function called there, from the loop on which records come.
    """

    def __init__(self, call_back: Callable[..., object]) -> None:
        self._call_back = call_back
        self._sinks: dict[str, Sink] = {}

    def __contains__(self, task_id: str) -> bool:
        return task_id in self._sinks

    def add(self, task_ids: Collection[str], sink: Sink) -> None:
        """Call this one for these calls."""
        self._sinks.update(dict.fromkeys(task_ids, sink))

    def remove(self, task_ids: Collection[str]) -> list[str]:
        """Call none for these; those that had one."""
        return [task_id for task_id in task_ids if self._sinks.pop(task_id, None) is not None]

    def push(self, task_id: str, body: bytes) -> None:
        """Call the sink, if there is one."""
        sink = self._sinks.get(task_id)
        if sink is not None:
            self._call_back(sink, task_id, body)


class _Look:
    """A look at what is stored of some calls.

    Attributes:
        task_ids: the calls.
        untold: those of which nothing was told since it began.
        all_told: called once there are none.
    """

    def __init__(self, task_ids: Sequence[str]) -> None:
        self.task_ids = task_ids
        self.untold: set[str] = set()
        self.all_told: Callable[[], object] = lambda: None

    def begin(self) -> None:
        self.untold = set(self.task_ids)

    def told(self, task_id: str) -> None:
        self.untold.discard(task_id)
        if not self.untold:
            self.all_told()


class Watching:
    """The server's side of the sinks. Lives on the asyncio loop."""

    def __init__(
        self, server: Server, listener: Listener, sinks: Sinks, operations: Operations
    ) -> None:
        self._server = server
        self._listener = listener
        self._sinks = sinks
        self._operations = operations
        self._channels: dict[bytes, str] = {}
        self._seen: dict[str, int] = {}
        self._looks: set[_Look] = set()
        self._leaving: list[str] = []

    async def watch(self, task_ids: Sequence[str]) -> None:
        """Have what is stored, and all that is told from now on, passed on.

        Returns when all that is stored has been.
        """
        channels = {keys.record(self._server.base, one): one for one in task_ids}
        self._channels.update({channel.encode(): one for channel, one in channels.items()})
        for task_id in task_ids:
            self._seen.pop(task_id, None)
        look = _Look(task_ids)
        looking = self._operations.begin(self._look_anew(look, channels))
        look.all_told = looking.release
        await looking.follow()
        if looking.is_over:
            looking.result()

    async def _look_anew(self, look: _Look, channels: Collection[str]) -> None:
        resending = Resending(self._server.address)
        while True:
            try:
                await self._listener.ready()
                await self._listener.subscribe(channels)
                await self._look(look)
            except Lost as error:
                await resending.after(error)
            else:
                return

    def forget(self, task_ids: Iterable[str]) -> None:
        """Nobody wants to hear of these any more."""
        begins = not self._leaving
        self._leaving += task_ids
        if begins and self._leaving:
            self._operations.begin(self._leave())

    async def _leave(self) -> None:
        leaving, self._leaving = self._leaving, []
        channels: list[str] = []
        for task_id in leaving:
            if task_id not in self._sinks:  # it may be watched again by now
                channel = keys.record(self._server.base, task_id)
                self._channels.pop(channel.encode(), None)
                self._seen.pop(task_id, None)
                channels.append(channel)
        with suppress(Lost):
            await self._listener.unsubscribe(channels)

    def heard(self, channel: bytes, body: bytes) -> None:
        """Pass on what was told."""
        task_id = self._channels.get(channel)
        if task_id is not None:
            self._seen[task_id] = hash(body)
            self._sinks.push(task_id, body)
            for look in self._looks:
                look.told(task_id)

    def connected(self) -> None:
        """Look again at all that is watched: a message may have been lost."""
        if self._channels:
            self._operations.begin(self._look_again())

    async def _look_again(self) -> None:
        resending = Resending(self._server.address)
        while True:
            try:
                await self._look(_Look(list(self._channels.values())))
            except Lost as error:
                if not self._listener.is_up:
                    return  # it will be connected again
                await resending.after(error)
            else:
                return

    async def _look(self, look: _Look) -> None:
        look.begin()
        self._looks.add(look)
        try:
            bodies = await records.bodies(self._server, look.task_ids)
            answers = zip(look.task_ids, bodies, strict=True)
            found = {
                task_id: body
                for task_id, body in answers
                if body is not None and task_id in look.untold
            }
            if found:  # what was told before the look must be heard before what was found
                await self._listener.barrier()
            for task_id, body in found.items():
                if task_id in look.untold:
                    self._pass_on(task_id, body)
        finally:
            self._looks.discard(look)

    def _pass_on(self, task_id: str, body: bytes) -> None:
        if self._seen.get(task_id) != hash(body):
            self._seen[task_id] = hash(body)
            self._sinks.push(task_id, body)
