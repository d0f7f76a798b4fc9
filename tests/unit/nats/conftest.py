"""Transports on a server of the tests' own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from uuid import uuid4

import pytest
from servers.nats import NatsServer

from chicory.transport import TransportSettings
from chicory_nats import NatsTransport


@pytest.fixture(scope="session")
def server(tmp_path_factory) -> Iterator[NatsServer]:
    with NatsServer(tmp_path_factory.mktemp("nats"), max_payload=1 << 20) as server:
        yield server


@pytest.fixture
def namespace() -> str:
    return uuid4().hex


@pytest.fixture
def make(server, namespace) -> Callable[..., NatsTransport]:
    def make(options: str = "", **settings) -> NatsTransport:
        settings = {"url": f"{server.url}{options}", "namespace": namespace, **settings}
        return NatsTransport(TransportSettings(**settings))

    return make


@pytest.fixture
async def connect(make) -> AsyncIterator[Callable]:
    async with AsyncExitStack() as stack:

        async def connect(options: str = "", **settings) -> NatsTransport:
            return await stack.enter_async_context(make(options, **settings))

        yield connect
