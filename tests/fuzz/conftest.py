"""An address on each transport, with real servers where there are any."""

from collections.abc import Iterator

import pytest
from servers.nats import NatsServer
from servers.redis import RedisServer, newest

TRANSPORTS = ["memory", "sqlite", "redis", "nats"]


@pytest.fixture(scope="session", params=TRANSPORTS)
def place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    folder = tmp_path_factory.mktemp(request.param)
    match request.param:
        case "memory":
            yield "memory://"
        case "sqlite":
            yield f"sqlite:///{folder / 'fuzz.db'}?synchronous=off"
        case "redis":
            with RedisServer(newest(), folder, ["--appendfsync", "no"]) as server:
                yield server.url
        case _:
            with NatsServer(folder, max_payload=1 << 20) as server:
                yield server.url
