"""Inboxes for messages, used again and again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from secrets import token_hex

from msgspec import Struct

from chicory_nats.acks import Acks
from chicory_nats.parser import Hook
from chicory_nats.session import Session

_LATE = 10.0


class Lane(Struct):
    """An inbox that messages can be asked to come to; used by one caller at a time.

    Attributes:
        inbox: the first tokens of the subjects that are heard.
        sid: the subscription.
        asked: how many requests were made: each one is answered under its own number.
    """

    inbox: bytes
    sid: int
    asked: int = 0


class Lanes:
    """Keeps inboxes for use again."""

    def __init__(self, session: Session, acks: Acks) -> None:
        self._session = session
        self._acks = acks
        self._free: list[Lane] = []

    def take(self, hook: Hook) -> Lane:
        """Have an inbox."""
        connection = self._session.connection
        if self._free:
            lane = self._free.pop()
            connection.subscriptions.rehook(lane.sid, hook)
            return lane
        inbox = b"_INBOX.%b" % token_hex(12).encode()
        return Lane(inbox, connection.subscriptions.add(inbox + b".*", hook))

    def give_back(self, lane: Lane) -> None:
        """Have an inbox used again: nothing more comes to it."""
        self._free.append(lane)

    async def drop(self, lane: Lane, consumers: Iterable[str]) -> None:
        """End an inbox: what these consumers have sent to it is here, and they keep the rest.

        In a cluster some may come even later, for a message is sent when the replicas know of it.
        """
        connection = self._session.connection
        connection.subscriptions.end(lane.sid)
        await self._acks.barrier(consumers)
        asyncio.get_running_loop().call_later(_LATE, connection.subscriptions.forget, lane.sid)
