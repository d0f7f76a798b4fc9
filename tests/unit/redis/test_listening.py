"""The connection on which the server speaks first. It lives on asyncio, under trio too."""

import asyncio
import logging

import pytest
from anyio import fail_after

from chicory_redis.address import Node, parse
from chicory_redis.connecting import Connector
from chicory_redis.listener import Listener
from chicory_redis.wire import Wire


@pytest.fixture(params=["asyncio"])
def anyio_backend(request):
    return request.param


@pytest.fixture
async def listen(server):
    listeners = []

    def listen(heard=lambda _channel, _message: None, connected=lambda: None) -> Listener:
        connector = Connector(parse(server.url), "test")
        listeners.append(Listener(connector, "own", "&*", heard, connected))
        return listeners[-1]

    yield listen
    for listener in listeners:
        await listener.close()


async def test_what_was_said_before_a_barrier_is_heard_when_it_is_passed(listen, server):
    heard: list[bytes] = []
    listener = listen(lambda _channel, message: heard.append(message))
    await listener.ready()
    await listener.subscribe(["news"])

    for number in range(100):
        server.command("PUBLISH", "news", number)
    await listener.barrier()

    assert heard == [b"%d" % number for number in range(100)]


async def test_a_barrier_on_a_connection_that_has_only_just_been_made_is_passed(
    listen, monkeypatch
):
    begun = asyncio.Event()

    async def begin(_listener) -> None:
        begun.set()
        await asyncio.get_running_loop().create_future()  # nothing is subscribed yet

    monkeypatch.setattr(Listener, "_begin", begin)
    listener = listen()
    with fail_after(60):
        waiting = asyncio.create_task(listener.ready())
        await begun.wait()

        await listener.barrier()

    waiting.cancel()


async def test_where_commands_go_elsewhere_it_connects_anew_and_hears_what_it_heard(listen, server):
    heard, times = asyncio.Event(), asyncio.Queue()
    listener = listen(lambda _channel, _message: heard.set(), lambda: times.put_nowait(1))
    with fail_after(60):
        await listener.ready()
        await listener.subscribe(["news"])
        await times.get()

        listener.follow(Node("elsewhere"))

        await times.get()
        server.command("PUBLISH", "news", "still")
        await heard.wait()


async def test_to_follow_commands_is_no_loss_and_a_loss_is_told_once(listen, server, caplog):
    times = asyncio.Queue()
    listener = listen(connected=lambda: times.put_nowait(1))
    with fail_after(60):
        await listener.ready()
        await times.get()
        for number in range(3):  # as while a cluster decides who takes over
            listener.follow(Node(f"elsewhere {number}"))
            await times.get()
        server.command("CLIENT", "KILL", "TYPE", "pubsub")
        await times.get()

    warnings = [each for each in caplog.records if each.levelno >= logging.WARNING]
    assert len(warnings) == 1
    assert "connection lost" in warnings[0].getMessage()


async def test_it_listens_where_commands_go_although_its_server_lives(server, own_server):
    """A primary that stood still is a replica when it comes to, and says what its primary says."""
    connector, connected = Connector(parse(server.url), "test"), asyncio.Queue()
    listener = Listener(connector, "own", "&*", lambda *_: None, lambda: connected.put_nowait(1))
    wire, connector.on_move = Wire(connector), listener.follow
    try:
        with fail_after(60):
            await wire.call("PING")
            await listener.ready()
            await connected.get()

            connector.route.moved(parse(own_server.url).nodes[0])
            wire.cut(TimeoutError("no answer"))
            await wire.call("PING")

            await connected.get()
        assert own_server.command("PUBSUB", "CHANNELS") == [b"own"]
        assert server.command("PUBSUB", "CHANNELS") == []
    finally:
        await wire.close()
        await listener.close()
