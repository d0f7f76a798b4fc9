"""The harness of the transport in memory: an example, and for transports derived from it."""

from __future__ import annotations

from uuid import uuid4

from chicory.testing.contract.harness import Harness
from chicory.testing.memory import MemoryTransport, forget
from chicory.transport import TransportSettings


class MemoryHarness(Harness):
    """A store under a name of its own; to restart it is to lose it."""

    def __init__(self, transport_type: type[MemoryTransport] = MemoryTransport) -> None:
        super().__init__()
        self._name = uuid4().hex
        self._type = transport_type
        self._made: list[MemoryTransport] = []
        self.url = f"memory://{self._name}"

    def make(self, settings: TransportSettings) -> MemoryTransport:
        self._made.append(self._type(settings))
        return self._made[-1]

    async def restart(self) -> None:
        for transport in self._made:
            await transport.close()
        forget(self._name)

    def round_trips(self) -> int:
        return sum(transport.calls for transport in self._made)
