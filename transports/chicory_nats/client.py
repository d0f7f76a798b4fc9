"""nats-py's client, with two doors that it lacks: whole batches out, messages in without a queue.

Its own ways cost a future, a task and a timer for each message. Connecting, logging in, TLS and
pings stay its own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from nats.aio.client import Client as _Client

from chicory.errors import BrokerConnectionError
from chicory_nats.denials import Denial, read
from chicory_nats.ear import Ear
from chicory_nats.parser import Hook, Parser


class Client(_Client):
    """A client whose subscriptions are hooks, by number; ``deny`` hears what is not permitted.

    Attributes:
        heard_at: when the last message came; of the monotonic clock.
        failure: the last error that nats-py reported.
    """

    def __init__(self, hooks: dict[int, Hook], deny: Callable[[Denial], None]) -> None:
        super().__init__()
        self._deny = deny
        self._parser = Parser(self, hooks, self._hear)
        self._ps = self._parser
        self.heard_at = time.monotonic()
        self.failure: Exception | None = None
        self._soon = b""

    @property
    def server(self) -> dict[str, Any]:
        """What the server says of itself."""
        return dict(self._server_info)

    @property
    def wants_certificate(self) -> bool:
        """Whether the server takes only who shows a certificate, as far as it has said so."""
        return bool(self._server_info.get("tls_required") and self._server_info.get("tls_verify"))

    async def write(self, commands: bytes) -> None:
        """Send commands; nothing once the connection is lost.

        At once, and without a wait: nats-py's own way takes a turn of the event loop more, and
        swallows the cancellation of who waits for it.
        """
        self._send(commands)

    def write_soon(self, commands: bytes) -> None:
        """Send commands with what is written next, or at the end of this turn of the event loop."""
        if not self._soon:
            asyncio.get_running_loop().call_soon(self._send, b"")
        self._soon += commands

    def _send(self, commands: bytes) -> None:
        commands, self._soon = self._soon + commands, b""
        if self.is_connected and commands and self._transport is not None:
            with suppress(RuntimeError):  # uvloop's, where it was lost a moment ago
                self._transport.write(commands)

    def abort(self) -> None:
        """End the connection now, also one that nats-py no longer or not yet answers for.

        Its ``close`` leaves the socket open where it is cancelled, and where nats-py has begun to
        close by itself; its ``connect`` does where it is cancelled.
        """
        writer = getattr(self._transport, "_io_writer", None)
        if writer is not None:
            writer.transport.abort()

    async def _select_next_server(self) -> None:
        """Try the server there is, once, and have what stops that raised.

        nats-py's own way tries it some sixty times, and tells why to nobody who waits.
        """
        (server,) = self._server_pool
        await self._connect_to_server(server)
        self._current_server = server

    async def _close(self, status: int, do_cbs: bool = True) -> None:
        """Close it, and have that told, without sending first what is left to send.

        Where that fails, since the connection is lost, nobody would be told of the end.
        """
        self._pending, self._pending_data_size = [], 0
        await super()._close(status, do_cbs)

    async def _read_loop(self) -> None:
        tcp: Any = self._transport
        reader, stream = tcp._io_reader, tcp._io_writer.transport  # noqa: SLF001  (no other door)
        protocol = stream.get_protocol()
        if protocol is not None:  # else the connection was lost already, as the reader knows
            encrypted = stream.get_extra_info("ssl_object") is not None
            ear = Ear(
                reader, protocol, self._parser, lambda: self.is_connected, is_encrypted=encrypted
            )
            stream.set_protocol(ear)
        await super()._read_loop()

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        """Encrypt where that is wanted, whatever the server says; the login comes after this."""
        if initial_connection and "tls" in self.options:
            if not (info.get("tls_required") or info.get("tls_available")):
                raise BrokerConnectionError(
                    f"{info.get('host')}:{info.get('port')} offers no TLS: set it up there, or "
                    "write nats:// without tls_ca and tls_cert"
                )
            info["tls_required"] = True
        await super()._process_info(info, initial_connection=initial_connection)

    async def _process_msg(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: Any
    ) -> None:
        self._hear()
        self._parser.tell(sid, subject, reply, headers or None, data)

    async def _process_err(self, err_msg: str) -> None:
        denial = read(bytes(self._parser.buf))  # ``err_msg`` is the same in small letters
        if denial is None:
            await super()._process_err(err_msg)
        else:
            self._deny(denial)

    def _hear(self) -> None:
        self.heard_at = time.monotonic()
