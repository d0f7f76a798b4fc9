"""The consumers of a queue: one for each level, made when the queue is first used."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct

from chicory_nats.headers import PAUSED
from chicory_nats.names import text_of, token
from chicory_nats.session import Session, clash
from chicory_nats.subjects import levels
from chicory_nats.wire import Outgoing, publish

FOREVER = 8_000_000_000.0
_DAY = 86400.0
_LEASED_AT_ONCE = 1_000_000
_WAITING = 100_000


class Status(Struct, frozen=True):
    """A consumer at one moment.

    Attributes:
        delivered: sequence number up to which it has delivered everything.
        leased: messages delivered and neither acknowledged nor gone.
        waiting: messages not delivered yet.
        paused: it delivers nothing until somebody resumes it; not only for a moment.
    """

    delivered: int = 0
    leased: int = 0
    waiting: int = 0
    paused: bool = False


class Consumers:
    """Makes, asks and pauses the consumers of this connection's namespace.

    Attributes:
        waiting: messages not delivered yet, by consumer, when it was made or found.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._known: set[bytes] = set()
        self.waiting: dict[str, int] = {}

    async def ensure(self, queue: bytes) -> None:
        """Have the consumers of a queue."""
        if queue not in self._known:
            paused = await self._is_paused(queue)
            await asyncio.gather(*(self._create(queue, level, paused) for level in levels()))
            self._known.add(queue)

    def forget(self) -> None:
        """Make them again before they are used: one may have been deleted."""
        self._known.clear()

    async def status(self, queue: bytes, level: int) -> Status:
        """A consumer as it is now; where there is none, one that has done nothing."""
        answer = await self._session.api(
            f"CONSUMER.INFO.{self._session.subjects.stream}.{name_of(queue, level)}"
        )
        if "error" in answer:
            messages = self._session.subjects.level(queue, level)
            return Status(waiting=await self._session.reader.count(messages))
        return Status(
            delivered=answer["delivered"]["stream_seq"],
            leased=answer["num_ack_pending"],
            waiting=answer["num_pending"],
            paused=_is_for_good(answer["config"].get("pause_until", "")),
        )

    async def are_behind(self, queue: bytes, level: int) -> bool:
        """Whether the stream holds messages of a level that were not delivered, and may be."""
        status = await self.status(queue, level)
        if status.paused:
            return False
        (behind,) = await self.have_messages([(queue, level, status.delivered + 1)])
        return behind

    async def have_messages(self, levels: Sequence[tuple[bytes, int, int]]) -> Sequence[bool]:
        """Whether the stream holds messages of levels, each from a sequence number on."""
        subjects = self._session.subjects
        wanted = [(subjects.level(queue, level), first) for queue, level, first in levels]
        return await self._session.reader.hold(wanted)

    async def pause(self, queue: bytes, until: float, *some: int) -> None:
        """Have nothing delivered until a point in time; 0: deliver again.

        ``some``: the levels that are meant; without them all are.
        """
        await asyncio.gather(*(self._pause(queue, level, until) for level in some or levels()))

    async def _pause(self, queue: bytes, level: int, until: float) -> None:
        consumer = name_of(queue, level)
        await self._session.api(
            f"CONSUMER.PAUSE.{self._session.subjects.stream}.{consumer}",
            {"pause_until": _stamp(until)} if until else {},
        )
        if not until:
            await self._session.connection.write(self._nudge(consumer))

    def _nudge(self, consumer: str) -> bytes:
        """A request that nobody hears the answer of.

        A consumer that is resumed serves those who wait only when something else comes in.
        """
        request = Outgoing(self._session.pull(consumer), b"", b'{"batch":1,"no_wait":true}')
        return publish(request, b"_INBOX.nobody")

    async def _is_paused(self, queue: bytes) -> bool:
        known = await self._session.reader.last([self._session.subjects.queue(queue)])
        return any(PAUSED in one.headers for one in known)

    async def _create(self, queue: bytes, level: int, paused: bool) -> None:
        subjects, name = self._session.subjects, name_of(queue, level)
        wanted = self._configuration(queue, level)
        given = {**wanted, "pause_until": _stamp(FOREVER)} if paused else wanted
        subject = f"{subjects.stream}.{name}.{wanted['filter_subject']}"
        answer = await self._session.ask(
            f"CONSUMER.CREATE.{subject}",
            {"stream_name": subjects.stream, "action": "create", "config": given},
        )
        if "error" not in answer:
            self.waiting[name] = answer["num_pending"]
            return
        found = await self._session.api(f"CONSUMER.INFO.{subjects.stream}.{name}")
        if "config" not in found:
            text = answer["error"].get("description")
            raise clash(self._session, f"the consumer {name} cannot be made: {text}")
        self._compare(queue, wanted, found["config"])
        self.waiting[name] = found["num_pending"]

    def _configuration(self, queue: bytes, level: int) -> dict[str, Any]:
        name = name_of(queue, level)
        return {
            "name": name,
            "durable_name": name,
            "filter_subject": self._session.subjects.level(queue, level).decode(),
            "ack_policy": "explicit",
            "deliver_policy": "all",
            "replay_policy": "instant",
            "ack_wait": round(self._session.lease * 1e9),
            "max_deliver": -1,
            "max_ack_pending": _LEASED_AT_ONCE,
            "max_waiting": _WAITING,
        }

    def _compare(self, queue: bytes, wanted: dict[str, Any], found: dict[str, Any]) -> None:
        for name, value in wanted.items():
            if found.get(name) == value:
                continue
            if name == "ack_wait":
                raise clash(
                    self._session,
                    f"queue {text_of(queue.decode())!r} has leases of {found[name] / 1e9:g} s, not "
                    f"of {value / 1e9:g} s: give all apps of a namespace the same lease "
                    "(CHICORY_LEASE)",
                )
            raise clash(
                self._session,
                f"the consumer {wanted['name']} has {name}={found.get(name)!r}, not {value!r}: "
                "delete it, and chicory makes it anew",
            )


def name_of(queue: bytes, level: int) -> str:
    """The name of a consumer."""
    return f"{queue.decode()}_{level}"


def queue_token(queue: str) -> bytes:
    """The token of a queue."""
    return token(queue).encode()


def _is_for_good(pause_until: str) -> bool:
    return pause_until > _stamp(time.time() + _DAY)


def _stamp(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat().replace("+00:00", "Z")
