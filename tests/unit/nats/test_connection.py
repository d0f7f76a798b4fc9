"""What becomes of a connection that is never made whole."""

from __future__ import annotations

import asyncio

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream
from servers.nats import NatsServer, free_port

from chicory.errors import BrokerConnectionError
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


async def test_a_server_that_is_not_there_is_tried_once_before_the_next_one(server, monkeypatch):
    tried: list[int] = []
    connect = asyncio.open_connection

    async def counted(host, port, **options):
        tried.append(port)
        return await connect(host, port, **options)

    monkeypatch.setattr(asyncio, "open_connection", counted)
    down = free_port()
    url = f"nats://127.0.0.1:{down},127.0.0.1:{server.port}"
    async with NatsTransport(TransportSettings(url=url)) as transport:
        await transport.ping()

    assert tried == [down, server.port]


async def test_why_no_server_will_do_is_said_of_each_of_them(tmp_path):
    down = free_port()
    with NatsServer(tmp_path, extra="authorization { token: 'right' }") as strict:
        hosts = f"127.0.0.1:{strict.port},127.0.0.1:{down},no-such-host.invalid"
        with pytest.raises(BrokerConnectionError) as raised:
            await NatsTransport(TransportSettings(url=f"nats://wrong@{hosts}")).open()

    login, refused, unknown = str(raised.value).split("; ")
    assert login == f"{strict.url} refused the login: check the user and password"
    assert refused.startswith(f"nats://127.0.0.1:{down} cannot be reached: ")
    assert "Connect call failed" in refused
    assert unknown.startswith("nats://no-such-host.invalid:4222 cannot be reached: ")
    assert "no servers available" not in unknown


async def test_a_connection_that_is_lost_with_a_ping_to_send_is_made_again(connect):
    async def lose() -> None:
        client = connection._client
        client._pending_data_size = len("PING")
        client._transport._io_reader.set_exception(BrokenPipeError())

    async def tell() -> None:
        transport._bridge.call_back(made_again.set)

    transport = await connect()
    connection = transport._open.session.connection
    made_again = anyio.Event()
    connection.on_up(tell)

    await transport._bridge.run(lose)

    with anyio.fail_after(60):
        await made_again.wait()
