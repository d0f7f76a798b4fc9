"""The subscriptions of a connection, which outlast its clients."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable

from chicory_nats.parser import Hook


class Subscriptions:
    """What the server is to send, and who is called with it.

    ``write(commands)`` sends with what is written next, if there is a connection.

    Attributes:
        hooks: who is called, by number; the parser's.
    """

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self.hooks: dict[int, Hook] = {}
        self._subjects: dict[int, bytes] = {}
        self._sids = itertools.count(1)
        self._write = write

    def add(self, subject: bytes, hook: Hook) -> int:
        """Have ``hook`` called for messages, by this client and those that replace it."""
        sid = self.reserve(subject, hook)
        self.announce([sid])
        return sid

    def reserve(self, subject: bytes, hook: Hook) -> int:
        """A subscription that the server is still to be told of."""
        sid = next(self._sids)
        self.hooks[sid], self._subjects[sid] = hook, subject
        return sid

    def announce(self, sids: Iterable[int]) -> None:
        """Tell the server of subscriptions."""
        self._write(self._announcement(sids))

    def all(self) -> bytes:
        """What tells a server of all subscriptions."""
        return self._announcement(self._subjects)

    def rehook(self, sid: int, hook: Hook) -> None:
        """Have another hook called for a subscription."""
        self.hooks[sid] = hook

    def end(self, *sids: int) -> None:
        """End subscriptions, though messages that are under way may still come."""
        for sid in sids:
            self._subjects.pop(sid, None)
        self._write(b"".join(b"UNSUB %d\r\n" % sid for sid in sids))

    def forget(self, sid: int) -> None:
        """Take no more messages of a subscription that was ended."""
        self.hooks.pop(sid, None)

    def _announcement(self, sids: Iterable[int]) -> bytes:
        return b"".join(b"SUB %b  %d\r\n" % (self._subjects[sid], sid) for sid in sids)
