"""Redis answers as the transport in memory does, whatever is asked of both, while no time passes.

The scripts have many branches, for batches, counters, orders and indexes: this finds the two that
do not fit. ``CHICORY_EXAMPLES=5000`` searches where none has looked yet.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from property.shared_server import SharedServerModel
from property.test_transport_model import EXAMPLES
from servers.redis import RedisServer, newest

from chicory_redis import RedisTransport

pytestmark = pytest.mark.slow


class RedisModel(SharedServerModel):
    """The same rules."""

    adapter = RedisTransport


@pytest.fixture(scope="module", autouse=True)
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    options = ("--appendonly", "no")
    with RedisServer(newest(), tmp_path_factory.mktemp("redis"), options) as server:
        RedisModel.url = server.url
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
