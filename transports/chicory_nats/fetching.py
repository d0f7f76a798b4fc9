"""Leasing messages: level by level, and waiting for the first one without asking again.

A level that was empty last time is asked together with the next one, for the price of one round
trip. Where it was not empty after all, more comes than was wanted; what is too much, and lowest,
is given back.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from functools import partial
from itertools import compress
from typing import Any

from chicory.errors import ChicoryError
from chicory.transport import Delivery, Priority
from chicory_nats.acks import Acks
from chicory_nats.boot import Boot
from chicory_nats.claims import Claims, Held
from chicory_nats.consumers import Consumers, name_of, queue_token
from chicory_nats.denials import Denial
from chicory_nats.lanes import Lanes
from chicory_nats.pull import Level, Raw
from chicory_nats.pulls import SILENCE, Pulls
from chicory_nats.session import Session
from chicory_nats.subjects import levels
from chicory_nats.whole import ended

_STANDING = 60.0
"""Seconds after which a request that waits is made anew. It is known sooner if it is lost; but a
consumer that beats may still deliver nothing, until something comes in: this does."""
_ENDING = 60.0
"""Seconds that what goes on in the background may take at the end."""
_PAUSE = 0.1
_MOMENT = 0.002
_REFUSALS = 5
_GRACE = 0.1
"""Seconds that a consumer is given to find what the stream holds for it."""
_LOOKS = 10
_TURNS = 8
"""Of the event loop: what was waited for is begun in them, and its outcome sent if it is there."""
_PRIORITIES = tuple(sorted(Priority))


class Fetcher:
    """Fetches for any number of callers at once."""

    def __init__(
        self, session: Session, consumers: Consumers, boot: Boot, acks: Acks, claims: Claims
    ) -> None:
        self._session = session
        self._consumers = consumers
        self._boot = boot
        self._claims = claims
        self._lanes = Lanes(session, acks)
        self._left: dict[str, int] = {}
        self._seen: dict[str, int] = {}
        self._under_way: set[Pulls] = set()
        self._standing: set[Pulls] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        session.connection.on_down(self._wake)
        session.connection.denials.on(self._deny)

    async def fetch(self, queues: Sequence[str], limit: int, wait: float) -> Sequence[Delivery]:
        """Lease up to ``limit`` messages, or wait for the first one."""
        end = time.monotonic() + wait
        ranked = await self._levels(queues)
        while True:
            found = await self._all_or_none(partial(self._sweep, ranked, limit))
            left = end - time.monotonic()
            if not found and left > 0:
                found = await self._stand(ranked, limit, min(left, _STANDING))
            elif not found:
                found = await self._all_or_none(partial(self._make_sure, ranked, limit))
            if found or time.monotonic() >= end:
                names = list(dict.fromkeys(queues))
                return [_delivery(held, names) for held in found]

    def vouches(self) -> bool:
        """Whether the consumers say that all fetches which wait are in their mind."""
        waiting = [pulls.heard_at for pulls in list(self._standing)]
        return bool(waiting) and time.monotonic() - min(waiting) < SILENCE

    async def close(self) -> None:
        """Wait for what goes on in the background; the connection is closed already."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_ENDING)

    async def _levels(self, queues: Sequence[str]) -> Sequence[Level]:
        names = [queue_token(queue) for queue in dict.fromkeys(queues)]
        await asyncio.gather(*(self._consumers.ensure(name) for name in names))
        pairs = [(name, level) for name in names for level in levels()]
        return [Level(n, name, lv, name_of(name, lv)) for n, (name, lv) in enumerate(pairs)]

    async def _all_or_none(
        self, sweep: Callable[[list[Pulls]], Coroutine[Any, Any, list[Held]]]
    ) -> list[Held]:
        """Do what claims messages to its end; where the caller is cancelled give them back."""
        begun: list[Pulls] = []
        task = asyncio.get_running_loop().create_task(sweep(begun))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            await self._ended(self._give_back(task, begun))
            raise

    async def _sweep(
        self, ranked: Sequence[Level], limit: int, begun: list[Pulls], grace: float = 0.0
    ) -> list[Held]:
        """Lease what is there, the first levels first.

        ``begun`` gets what was asked for. ``grace``: seconds for which an empty level is asked once
        more.
        """
        found: list[Held] = []
        rest = list(ranked)
        refusals = 0
        while rest and len(found) < limit:
            await self._boot.since()
            room = limit - len(found)
            asked = self._worth_asking(rest, room)
            above = [level for level in ranked if level.rank < asked[-1].rank]
            pulls, occupied = await asyncio.gather(
                self._ask(asked, room, begun, grace), self._occupied(above)
            )
            self._note(pulls)
            came = pulls.came + await self._missed(pulls.came, occupied, room, begun)
            found += await self._claims.accept(came, room)
            if not pulls.over:
                break  # the connection was lost, or a consumer is gone: begin anew
            if any(pull.full for pull in pulls.pulls):
                break  # what comes next is on this level
            if refusals < _REFUSALS and any(pull.refused for pull in pulls.pulls):
                await asyncio.sleep(_MOMENT * 2**refusals)
                refusals += 1
                continue
            rest = rest[len(asked) :]
        return found

    async def _ask(
        self, asked: Sequence[Level], limit: int, begun: list[Pulls], grace: float = 0.0
    ) -> Pulls:
        """Have what these levels hold."""
        pulls = Pulls(self._session, self._lanes, asked, limit)
        begun.append(pulls)
        self._under_way.add(pulls)
        try:
            await pulls.ask(grace)
        finally:
            self._under_way.discard(pulls)
        await pulls.end(self._refuse_late)
        pulls.check()
        return pulls

    async def _occupied(self, above: Sequence[Level]) -> list[Level]:
        """Those levels that may hold what was not delivered."""
        seen, known = self._seen, list[bool]()
        with suppress(ChicoryError):  # what comes meanwhile must not be left behind
            known += await self._consumers.have_messages(
                [(one.queue, one.level, seen.get(one.consumer, 0) + 1) for one in above]
            )
        return list(compress(above, known))

    async def _missed(
        self, came: Sequence[Raw], occupied: list[Level], room: int, begun: list[Pulls]
    ) -> list[Raw]:
        """What higher levels hold although their consumers did not know of it yet."""
        top = min((raw.level.rank for raw in came), default=0)
        with suppress(ChicoryError):
            behind = await self._behind([level for level in occupied if level.rank < top])
            if behind:
                return (await self._ask(behind, room, begun, _GRACE)).came
        return []

    async def _behind(self, ranked: Sequence[Level]) -> list[Level]:
        known = await asyncio.gather(
            *(self._consumers.are_behind(level.queue, level.level) for level in ranked)
        )
        return list(compress(ranked, known))

    async def _make_sure(
        self, ranked: Sequence[Level], limit: int, begun: list[Pulls]
    ) -> list[Held]:
        """Ask again until it is certain that nothing is there.

        A consumer learns of what was stored a moment after the publisher did, and knows of
        nothing until then.
        """
        for _ in range(_LOOKS):
            behind = await self._behind(ranked)
            found = await self._sweep(behind, limit, begun, _GRACE)
            if found or not behind:
                return found
        return []

    def _worth_asking(self, rest: Sequence[Level], room: int) -> Sequence[Level]:
        """The first levels up to those that will have enough."""
        expected, waiting = 0, self._consumers.waiting
        for number, level in enumerate(rest, 1):
            expected += self._left.get(level.consumer, waiting.get(level.consumer, room))
            if expected >= room:
                return rest[:number]
        return rest

    async def _stand(self, ranked: Sequence[Level], limit: int, wait: float) -> list[Held]:
        """Wait until something is there, and lease it.

        One message of each level, for what the server sends after the request was withdrawn is
        a delivery that nobody had.
        """
        pulls = Pulls(self._session, self._lanes, ranked, 1)
        self._under_way.add(pulls)
        self._standing.add(pulls)
        try:
            await pulls.stand(wait)
            if not pulls.came:
                await pulls.end(self._refuse_late)
                pulls.check()
        except asyncio.CancelledError:
            await self._ended(self._undo(pulls))
            raise
        finally:
            self._under_way.discard(pulls)
            self._standing.discard(pulls)
        came = pulls.came
        withdrawn = self._spawn(self._withdraw(pulls, came, _TURNS))
        found = self._claims.accept_certain(came, limit)
        if found is None:
            try:
                found = await self._all_or_none(partial(self._accept, pulls, came, limit))
            except asyncio.CancelledError:
                await ended(withdrawn, self._session.connection)
                raise
        if not found and any(pull.failed for pull in pulls.pulls):
            self._consumers.forget()
            await asyncio.sleep(_PAUSE)
            await asyncio.gather(*(self._consumers.ensure(level.queue) for level in ranked))
        return found

    async def _withdraw(self, pulls: Pulls, taken: Sequence[Raw], turns: int = 0) -> None:
        """End pulls, and give back what came in the end and nobody took.

        ``turns``: of the event loop, after which it is time: what was taken is worth more.
        """
        for _ in range(turns):
            await asyncio.sleep(0)
        with suppress(ChicoryError):  # without a connection leases run out by themselves
            await pulls.end(self._refuse_late)
            await self._claims.refuse([raw for raw in pulls.came if raw not in taken])

    def _refuse_late(self, raw: Raw) -> None:
        self._spawn(self._refuse([raw]))

    async def _refuse(self, came: Sequence[Raw]) -> None:
        with suppress(ChicoryError):
            await self._claims.refuse(came)

    async def _undo(self, pulls: Pulls) -> None:
        """Withdraw pulls so that nothing is left of them.

        A message that the server was about to send and could not deliver any more counts as
        leased, and is ready only for whoever asks for it.
        """
        await self._withdraw(pulls, [])
        asked = [pull.level for pull in pulls.pulls if not pull.over]
        with suppress(ChicoryError):
            if asked and self._session.connection.is_up:
                await self._claims.refuse((await self._ask(asked, 1, [])).came)

    async def _accept(
        self, pulls: Pulls, came: Sequence[Raw], limit: int, begun: list[Pulls]
    ) -> list[Held]:
        begun.append(pulls)
        return await self._claims.accept(came, limit)

    async def _give_back(self, sweep: asyncio.Task[list[Held]], begun: Sequence[Pulls]) -> None:
        """Give back what is claimed for a caller who is gone."""
        with suppress(ChicoryError):
            try:
                await self._claims.give_back(ticket for _, ticket in await sweep)
            except asyncio.CancelledError:  # with all that runs, by an event loop that ends
                for pulls in begun:
                    await self._undo(pulls)

    async def _ended(self, work: Coroutine[Any, Any, None]) -> None:
        await ended(self._spawn(work), self._session.connection)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _wake(self) -> None:
        for pulls in list(self._under_way):
            pulls.wake()

    def _deny(self, denial: Denial) -> bool:
        return True in [pulls.deny(denial) for pulls in self._under_way]

    def _note(self, pulls: Pulls) -> None:
        for pull in pulls.pulls:
            if pull.over:
                self._left[pull.level.consumer] = pull.left
            seqs = [self._seen.get(pull.level.consumer, 0), *(raw.seq for raw in pull.came)]
            self._seen[pull.level.consumer] = max(seqs)


def _delivery(held: Held, queues: Sequence[str]) -> Delivery:
    raw, ticket = held
    return Delivery(
        queues[raw.level.rank // len(_PRIORITIES)],
        ticket.task_id,
        raw.body,
        _PRIORITIES[raw.level.level],
        ticket.deliveries,
        ticket,
        ticket.cancelled,
    )
