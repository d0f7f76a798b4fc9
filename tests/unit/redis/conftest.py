"""Transports on servers of the tests' own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from servers.redis import RedisServer, newest

from chicory.transport import TransportSettings
from chicory_redis import RedisTransport


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(newest(), tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def server(shared_server: RedisServer) -> Iterator[RedisServer]:
    yield shared_server
    shared_server.command("FLUSHALL")


@pytest.fixture
def own_server(tmp_path, request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """One that the test may spoil; ``request.param`` has its options."""
    with RedisServer(newest(), tmp_path, getattr(request, "param", ())) as server:
        yield server


@pytest.fixture
def make(server: RedisServer) -> Callable[..., RedisTransport]:
    def make(query: str = "", **settings) -> RedisTransport:
        return RedisTransport(TransportSettings(**{"url": server.url + query, **settings}))

    return make


@pytest.fixture
def now() -> float:
    """The time of the server, which runs on this machine."""
    return time.time()
