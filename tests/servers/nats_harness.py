"""What the contract is told about NATS, however many servers there are."""

from __future__ import annotations

import pytest
from anyio import sleep

from chicory.testing.contract.harness import RealTimeHarness
from chicory.transport import TransportSettings
from chicory_nats import NatsTransport
from chicory_nats.client import Client


class NatsHarness(RealTimeHarness):
    """Servers shared by the tests; each has namespaces of its own. Counts what is written to them.

    Attributes:
        glance: real seconds without a word after which nobody has more to say.
    """

    reconnects = True
    glance: float

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url
        self._written = 0

    def make(self, settings: TransportSettings) -> NatsTransport:
        return NatsTransport(settings)

    def count_writes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Begin to count."""
        write = Client.write

        async def write_and_count(client: Client, commands: bytes) -> None:
            self._written += 1
            await write(client, commands)

        monkeypatch.setattr(Client, "write", write_and_count)

    async def settle_down(self) -> None:
        seen = -1
        while seen != self._written:
            seen = self._written
            await sleep(self.glance)

    def round_trips(self) -> int:
        return self._written
