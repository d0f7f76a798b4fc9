"""What becomes of a connection that is never made whole."""

from __future__ import annotations

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream

from chicory.transport import TransportSettings
from chicory_nats import NatsTransport


async def test_a_connection_given_up_while_it_is_made_is_closed():
    accepted, closed = anyio.Event(), anyio.Event()

    async def be_silent(stream: SocketStream) -> None:
        accepted.set()
        async with stream:
            with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
                await stream.receive()
        closed.set()

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(SocketAttribute.local_port)
    transport = NatsTransport(TransportSettings(url=f"nats://127.0.0.1:{port}"))
    with anyio.fail_after(60):
        async with listener, anyio.create_task_group() as server:
            server.start_soon(listener.serve, be_silent)
            async with anyio.create_task_group() as client:
                client.start_soon(transport.__aenter__)
                await accepted.wait()
                client.cancel_scope.cancel()
            await closed.wait()
            server.cancel_scope.cancel()
