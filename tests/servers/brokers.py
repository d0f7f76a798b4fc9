"""Brokers for tests of processes: one server for all of them, a namespace for each test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from servers.nats import NatsServer
from servers.redis import RedisServer, newest

BROKERS = ["sqlite", "redis", "nats"]
"""For ``@pytest.mark.parametrize("broker", BROKERS, indirect=True)``."""


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with RedisServer(newest(), tmp_path_factory.mktemp("redis")) as server:
        yield server.url


@pytest.fixture(scope="session")
def nats_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with NatsServer(tmp_path_factory.mktemp("nats")) as server:
        yield server.url


@pytest.fixture
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """What whoever runs the tests has set must not decide how they end."""
    for name in [name for name in os.environ if name.startswith("CHICORY_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def broker(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    no_settings: None,
) -> str:
    """The URL of a broker that this test has to itself; ``Chicory()`` opens it, here and below."""
    kind = getattr(request, "param", "sqlite")
    if kind == "sqlite":
        url = f"sqlite:///{tmp_path / 'chicory.db'}"
    else:
        url = request.getfixturevalue(f"{kind}_url")
        monkeypatch.setenv("CHICORY_NAMESPACE", uuid4().hex)
    monkeypatch.setenv("CHICORY_BROKER_URL", url)
    return url
