"""The ear of a client: messages that come whole are told at once, not by nats-py's reader.

That reader is a task: to wake it for what came takes a turn of the event loop more, and it copies
the bytes twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from chicory_nats.parser import Parser


class Ear(asyncio.Protocol):
    """Hears what comes before nats-py's reader does, and leaves to it what is no whole message.

    What comes while that reader still has something to parse goes to it, too: so all is told in
    the order received.

    Args:
        reader: what nats-py reads from.
        protocol: fills it.
        parser: of the client.
        is_listening: whether the client still wants messages.
        is_encrypted: whether the connection is.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        protocol: Any,
        parser: Parser,
        is_listening: Callable[[], bool],
        *,
        is_encrypted: bool,
    ) -> None:
        self._unread: bytearray = reader._buffer  # noqa: SLF001  # type: ignore[attr-defined]
        self._parser = parser
        self._is_listening = is_listening
        self._hand_over = protocol.data_received
        self._end = protocol.eof_received
        self._is_encrypted = is_encrypted
        self.connection_lost = protocol.connection_lost
        self.pause_writing = protocol.pause_writing
        self.resume_writing = protocol.resume_writing

    def data_received(self, data: bytes) -> None:
        """Tell what is a whole message; called by the event loop."""
        if not self._unread and not self._parser.is_busy and self._is_listening():
            data = self._parser.take(data)
        if data:
            self._hand_over(data)

    def eof_received(self) -> bool:
        """Nothing more comes; whether to keep the connection, which TLS cannot, and asyncio warns.

        nats-py's protocol does not know that it is encrypted.
        """
        return bool(self._end()) and not self._is_encrypted
