"""What fetching leaves behind."""

from __future__ import annotations

import asyncio
import math

import pytest
from anyio import Event, create_task_group, fail_after

from chicory.errors import BrokerConnectionError
from chicory.testing.contract.steps import done, message
from chicory.transport import TransportSettings
from chicory_nats.address import parse
from chicory_nats.client import Client
from chicory_nats.pulls import Level
from chicory_nats.space import Space

_LEVEL = Level(0, b"q", 1, "q_1")
_PATIENCE = 60.0


def test_a_request_that_cannot_be_made_is_not_kept(server, namespace):
    async def ask_when_closed():
        settings = TransportSettings(url=server.url, namespace=namespace)
        space = Space(parse(server.url), settings, lambda *_: None)
        await space.open()
        await space.close()
        with pytest.raises(BrokerConnectionError):
            await space.fetcher._ask([_LEVEL], 1)
        return space.fetcher._under_way

    assert asyncio.run(ask_when_closed()) == set()


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_what_is_waited_for_is_settled_before_the_wait_is_taken_back(connect, monkeypatch):
    written: list[bytes] = []
    standing = Event()
    send = Client._send

    def note(client, commands):
        written.append(client._soon + commands)
        if b'"idle_heartbeat"' in commands:
            standing.set()
        send(client, commands)

    monkeypatch.setattr(Client, "_send", note)
    worker, publisher = await connect(), await connect()

    async def settle_what_comes():
        deliveries = await worker.fetch(["q"], 5, math.inf)
        await worker.settle([done(delivery) for delivery in deliveries])

    with fail_after(_PATIENCE):
        async with create_task_group() as group:
            group.start_soon(settle_what_comes)
            await standing.wait()
            await publisher.publish([message("1")])

    commands = b"".join(written)
    assert commands.index(b".m.e.~.~.1 ") < commands.index(b"UNSUB ")
