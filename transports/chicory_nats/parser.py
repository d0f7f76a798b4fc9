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
    """

    def __init__(
        self, client: object, hooks: Mapping[int, Hook], heard: Callable[[], None]
    ) -> None:
        super().__init__(client)  # pyright: ignore[reportUnknownMemberType]  (it says nothing of it)
        self._hooks = hooks
        self._heard = heard

    async def parse(self, data: bytes = b"") -> None:
        """Take what came over the network."""
        if self.state != AWAITING_CONTROL_LINE:
            missing = self.needed + len(_END) - len(self.buf)
            await super().parse(data[:missing])
            data = data[missing:]
        elif self.buf:
            data = bytes(self.buf) + data
            self.buf.clear()
        if data:
            rest = self._take_whole(data)
            if rest:
                await super().parse(rest)

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
        """Deal with the messages in front; what comes behind them."""
        position, length, find, tell = 0, len(data), data.find, self.tell
        while position < length:
            line_end = find(_END, position)
            if line_end < 0:
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
                break
            reply = words[3] if len(words) == _LONGEST[has_headers] else b""
            headers = data[start:middle] if has_headers else None
            tell(sid, words[1], reply, headers, data[middle:end])
            position = end + len(_END)
        if not position:
            return data
        self._heard()
        return data[position:]


_END = b"\r\n"
_MSG_WORDS, _HMSG_WORDS = (4, 5), (5, 6)
_LONGEST = (5, 6)
