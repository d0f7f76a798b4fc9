"""NATS answers as the transport in memory does, whatever is asked of both, while no time passes.

The server's clock cannot be moved: so leases, delays, keys and records outlast the test on it, and
the clock of the model stands still.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from itertools import count, cycle
from tempfile import TemporaryDirectory
from typing import Any, ClassVar
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, Phase, settings
from property.test_transport_model import EXAMPLES, TransportModel
from property.timeless import LONG, StillClock, Timeless
from servers.nats import NatsServer

from chicory.testing import MemoryTransport
from chicory.transport import Publication, Settlement, TransportSettings
from chicory_nats import NatsTransport

pytestmark = pytest.mark.slow


class _Singly(Timeless):
    """Messages one by one: of a batch those come later for which more than one look is needed."""

    async def publish(self, publications: Sequence[Publication]) -> Any:
        return [(await super(_Singly, self).publish([one]))[0] for one in publications]

    async def settle(self, settlements: Sequence[Settlement]) -> Any:
        return [(await super(_Singly, self).settle([one]))[0] for one in settlements]


class NatsModel(TransportModel):
    """The same rules, on a server that all examples share."""

    url: ClassVar[str]

    def __init__(self) -> None:
        super(TransportModel, self).__init__()
        self.fetched = []
        self.letters = []
        self.serial = count(1).__next__
        self.swaps = cycle((True, False, False, True, True))
        self.clock = StillClock()
        self.folder = TemporaryDirectory()
        self.runner = asyncio.Runner()
        self.model = _Singly(MemoryTransport(self.settings("memory://")), self.clock.now())
        self.real = _Singly(NatsTransport(self._settings()), self.clock.now())
        self.other = self.real.clone()
        for transport in (self.model, self.real, self.other):
            self.runner.run(transport.open())

    def _settings(self) -> TransportSettings:
        return TransportSettings(url=self.url, namespace=uuid4().hex, lease=LONG)


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
