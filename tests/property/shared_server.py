"""The rules of the transport model on a server that all examples share, while no time passes.

The server's clock cannot be moved: so leases, delays, keys and records outlast the test on it, and
the clock of the model stands still.
"""

from __future__ import annotations

import asyncio
from itertools import count, cycle
from tempfile import TemporaryDirectory
from typing import ClassVar
from uuid import uuid4

from property.test_transport_model import TransportModel
from property.timeless import LONG, StillClock, Timeless

from chicory.testing import MemoryTransport
from chicory.transport import Transport, TransportSettings


class SharedServerModel(TransportModel):
    """Each example has a namespace of its own.

    Attributes:
        url: where the server is, once it has been started.
        adapter: what is asked beside the transport in memory.
        wrapper: how both are asked.
    """

    url: ClassVar[str]
    adapter: ClassVar[type[Transport]]
    wrapper: ClassVar[type[Timeless]] = Timeless

    def __init__(self) -> None:
        super(TransportModel, self).__init__()
        self.fetched = []
        self.letters = []
        self.serial = count(1).__next__
        self.swaps = cycle((True, False, False, True, True))
        self.clock = StillClock()
        self.folder = TemporaryDirectory()
        self.runner = asyncio.Runner()
        place = TransportSettings(url=self.url, namespace=uuid4().hex, lease=LONG)
        self.model = self.wrapper(MemoryTransport(self.settings("memory://")), self.clock.now())
        self.real = self.wrapper(self.adapter(place), self.clock.now())
        self.other = self.real.clone()
        for transport in (self.model, self.real, self.other):
            self.runner.run(transport.open())
