"""The promises of the port, as tests that any transport can be put to.

Write a ``Harness`` for the transport, a fixture named ``harness`` that yields one, and a
subclass; ``docs/writing-a-transport.md`` shows it whole::

    class TestMine(TransportContract):
        @pytest.fixture
        async def harness(self) -> AsyncIterator[Harness]:
            async with MyHarness() as harness:
                yield harness
"""

from __future__ import annotations

import pytest

from chicory.testing.contract.cancel import CancelContract
from chicory.testing.contract.cancellation import CancellationContract
from chicory.testing.contract.concurrency import ConcurrencyContract
from chicory.testing.contract.connection import ConnectionContract
from chicory.testing.contract.counts import CountsContract
from chicory.testing.contract.dead_letters import DeadLettersContract
from chicory.testing.contract.delay import DelayContract
from chicory.testing.contract.fetch import FetchContract
from chicory.testing.contract.follow_ups import FollowUpsContract
from chicory.testing.contract.harness import Harness, RealTimeHarness
from chicory.testing.contract.lease import LeaseContract
from chicory.testing.contract.order import OrderContract
from chicory.testing.contract.pause import PauseContract
from chicory.testing.contract.publish import PublishContract
from chicory.testing.contract.push import PushContract
from chicory.testing.contract.records import RecordsContract
from chicory.testing.contract.rescue import RescueContract
from chicory.testing.contract.restart import RestartContract
from chicory.testing.contract.retry import RetryContract
from chicory.testing.contract.settle import SettleContract
from chicory.testing.contract.text import TextContract
from chicory.testing.contract.unique import UniqueContract
from chicory.testing.contract.waking import WakingContract
from chicory.testing.contract.watch import WatchContract
from chicory.testing.contract.workers import WorkersContract

__all__ = ["Harness", "RealTimeHarness", "TransportContract"]


@pytest.mark.anyio
class TransportContract(
    ConnectionContract,
    PublishContract,
    FetchContract,
    OrderContract,
    LeaseContract,
    SettleContract,
    RetryContract,
    RescueContract,
    DelayContract,
    UniqueContract,
    CancelContract,
    PauseContract,
    FollowUpsContract,
    DeadLettersContract,
    RecordsContract,
    WatchContract,
    CountsContract,
    WorkersContract,
    CancellationContract,
    PushContract,
    WakingContract,
    RestartContract,
    ConcurrencyContract,
    TextContract,
):
    """Everything that a transport promises."""
