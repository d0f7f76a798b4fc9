"""The contract, for the transport in memory."""

from collections.abc import AsyncIterator

import pytest

from chicory.testing.contract import Harness, TransportContract
from chicory.testing.contract.memory import MemoryHarness


class TestMemory(TransportContract):
    @pytest.fixture
    async def harness(self) -> AsyncIterator[Harness]:
        async with MemoryHarness() as harness:
            yield harness
            await harness.restart()
