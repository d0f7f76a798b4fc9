"""Redis answers as the transport in memory does, whatever is asked of both, while no time passes.

The scripts have many branches, for batches, counters, orders and indexes: this finds the two that
do not fit. ``CHICORY_EXAMPLES=5000`` searches where none has looked yet.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import count, cycle
from tempfile import TemporaryDirectory
from typing import ClassVar
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings
from property.test_transport_model import EXAMPLES, TransportModel
from property.timeless import LONG, StillClock, Timeless
from servers.redis import RedisServer, newest

from chicory.testing import MemoryTransport
from chicory.transport import TransportSettings
from chicory_redis import RedisTransport

pytestmark = pytest.mark.slow


class RedisModel(TransportModel):
    """The same rules, on a server that all examples share."""

    server: ClassVar[RedisServer]

    def __init__(self) -> None:
        super(TransportModel, self).__init__()
        self.fetched = []
        self.letters = []
        self.serial = count(1).__next__
        self.swaps = cycle((True, False, False, True, True))
        self.clock = StillClock()
        self.folder = TemporaryDirectory()
        self.runner = asyncio.Runner()
        self.namespace = uuid4().hex
        self.model = Timeless(MemoryTransport(self.settings("memory://")), self.clock.now())
        self.real = Timeless(RedisTransport(self._settings()), self.clock.now())
        self.other = self.real.clone()
        for transport in (self.model, self.real, self.other):
            self.runner.run(transport.open())

    def _settings(self) -> TransportSettings:
        return TransportSettings(url=self.server.url, namespace=self.namespace, lease=LONG)


@pytest.fixture(scope="module", autouse=True)
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    options = ("--appendonly", "no")
    with RedisServer(newest(), tmp_path_factory.mktemp("redis"), options) as server:
        RedisModel.server = server
        yield


TestRedisModel = RedisModel.TestCase
TestRedisModel.settings = settings(
    max_examples=EXAMPLES or 50,
    stateful_step_count=50,
    derandomize=not EXAMPLES,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)
