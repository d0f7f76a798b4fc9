"""What fetching leaves behind."""

from __future__ import annotations

import asyncio

import pytest

from chicory.errors import BrokerConnectionError
from chicory.transport import TransportSettings
from chicory_nats.address import parse
from chicory_nats.pulls import Level
from chicory_nats.space import Space

_LEVEL = Level(0, b"q", 1, "q_1")


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
