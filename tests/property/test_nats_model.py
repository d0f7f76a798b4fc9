"""NATS answers as the transport in memory does, whatever is asked of both, while no time passes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from property.shared_server import SharedServerModel
from property.test_transport_model import EXAMPLES
from property.timeless import Timeless
from servers.nats import NatsServer

from chicory.transport import Publication, Settlement
from chicory_nats import NatsTransport

pytestmark = pytest.mark.slow


class _Singly(Timeless):
    """Messages one by one: of a batch those come later for which more than one look is needed."""

    async def publish(self, publications: Sequence[Publication]) -> Any:
        return [(await super(_Singly, self).publish([one]))[0] for one in publications]

    async def settle(self, settlements: Sequence[Settlement]) -> Any:
        return [(await super(_Singly, self).settle([one]))[0] for one in settlements]


class NatsModel(SharedServerModel):
    """The same rules."""

    adapter = NatsTransport
    wrapper = _Singly


@pytest.fixture(scope="module", autouse=True)
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with NatsServer(tmp_path_factory.mktemp("nats")) as server:
        NatsModel.url = server.url
        yield


TestNatsModel = NatsModel.TestCase
TestNatsModel.settings = settings(
    max_examples=EXAMPLES or 60,
    stateful_step_count=40,
    derandomize=not EXAMPLES,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
    report_multiple_bugs=False,
    phases=[Phase.generate],
)
