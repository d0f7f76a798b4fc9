"""nats-py's parser, with a shorter way for what nearly all of the traffic is: whole messages.

Its own way takes the same bytes several times for each message, and a coroutine. What is not a
message that came whole goes to it unchanged.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TypeAlias

from nats.protocol.parser import AWAITING_CONTROL_LINE
from nats.protocol.parser import Parser as _Parser

logger = logging.getLogger("chicory.nats")

Hook: TypeAlias = Callable[[bytes, bytes, bytes | None, bytes], None]
"""``hook(subject, reply, headers, body)``; called in the reader's own step, so it must be short."""


class Parser(_Parser):
    """Gives each message to the hook of its subscription, in the order received.

    ``heard()`` is called where there were messages, not for what only says that somebody is there.

    Attributes:
        is_busy: whether ``parse`` is under way.
    """

    def __init__(
        self, client: object, hooks: Mapping[int, Hook], heard: Callable[[], None]
    ) -> None:
        self.buf: bytearray
        super().__init__(client)  # pyright: ignore[reportUnknownMemberType]  (it says nothing of it)
        self._hooks = hooks
        self._heard = heard
        self.is_busy = False

    async def parse(self, data: bytes = b"") -> None:
        """Take what came over the network."""
        self.is_busy = True
        try:
            if self.state != AWAITING_CONTROL_LINE:
                missing = self.needed + len(_END) - len(self.buf)
                await super().parse(data[:missing])
                data = data[missing:]
            rest = self.take(data)
            if rest:
                await super().parse(rest)
        finally:
            self.is_busy = False

    def take(self, data: bytes) -> bytes:
        """Tell the messages in front that came whole, at once; what is left for ``parse``.

        One that has only begun is kept until more comes, unless it is long.
        """
        if self.state != AWAITING_CONTROL_LINE:
            return data
        if self.buf:
            data = bytes(self.buf) + data
            self.buf.clear()
        return self._take_whole(data)

    def tell(
        self, sid: int, subject: bytes, reply: bytes, headers: bytes | None, body: bytes
    ) -> None:
        """Give a message to its hook."""
        hook = self._hooks.get(sid)
        if hook is None:
            return
        try:
            hook(subject, reply, headers, body)
        except Exception:  # an error here would end nats-py's reader, and leave the client deaf
            logger.exception("a message of the server could not be handled")

    def _take_whole(self, data: bytes) -> bytes:
        """Deal with the messages in front; what comes behind them, and is not kept."""
        position, length, find, tell = 0, len(data), data.find, self.tell
        has_begun = False
        while position < length:
            line_end = find(_END, position)
            if line_end < 0:
                has_begun = True
                break
            words = data[position:line_end].split()
            kind = words[0] if words else b""
            has_headers = kind == b"HMSG"
            if not has_headers and kind != b"MSG":
                break
            # MSG subject sid [reply] size, HMSG subject sid [reply] headers size
            if len(words) not in (_HMSG_WORDS if has_headers else _MSG_WORDS):
                break
            try:
                sid, size = int(words[2]), int(words[-1])
                before = int(words[-2]) if has_headers else 0
            except ValueError:
                break
            start = line_end + len(_END)
            middle, end = start + before, start + size
            if end + len(_END) > length:
                has_begun = True
                break
            reply = words[3] if len(words) == _LONGEST[has_headers] else b""
            headers = data[start:middle] if has_headers else None
            tell(sid, words[1], reply, headers, data[middle:end])
            position = end + len(_END)
        if position:
            self._heard()
            data = data[position:]
        if has_begun and len(data) <= _KEPT:
            self.buf += data
            return b""
        return data


_KEPT = 1 << 15
"""Bytes of a message that has only begun; each time more comes they are copied."""
_END = b"\r\n"
_MSG_WORDS, _HMSG_WORDS = (4, 5), (5, 6)
_LONGEST = (5, 6)
