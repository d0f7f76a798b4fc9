"""The contract catches broken transports: each fault by the tests that are named for it."""

import anyio
import broken_moves  # noqa: F401  notes its faults
import broken_steps  # noqa: F401  likewise
import broken_stores  # noqa: F401  likewise
import pytest
from faults import FAULTS

from chicory.errors import ChicoryError
from chicory.testing.contract import TransportContract
from chicory.testing.contract.memory import MemoryHarness
from chicory.testing.memory import MemoryTransport

FAILURES = (AssertionError, TimeoutError, ValueError, ChicoryError, pytest.fail.Exception)
DEADLINE = 20
NAMED = sorted({test for fault in FAULTS.values() for test in fault.caught_by})
PROMISES = [cls for cls in TransportContract.__mro__ if cls.__name__.endswith("Contract")][1:]

FEARED = {
    "publish is not atomic per item": ["TakesTheIdFirst", "TakesTheKeyFirst"],
    "two workers get one message": ["LooksBeforeItLeases"],
    "a settlement after a lost lease is accepted": ["AcceptsLateSettlements"],
    "a lease is not extended": ["DoesNotExtendLeases"],
    "an orphan is not rescued": ["RescuesNobody", "RescuesWhenThereIsTraffic"],
    "a retry loses its message between two steps": ["RemovesBeforeItRetries"],
    "a delayed message comes too early": ["RoundsDelays", "IgnoresDelays"],
    "the order of priorities is lost": ["HasOnePriority"],
    "a result can be read before its settlement is durable": ["RecordsBeforeItSettles"],
    "a duplicate unique key is accepted": ["IgnoresKeys", "LooksBeforeItPublishes"],
    "a wait polls": ["PollsOften", "PollsSeldom", "PollsForRecordsOften", "PollsForRecordsSeldom"],
    "a cancelled fetch leaks a delivery": ["LeaksWhatItFetched", "LeavesItsRequestWithTheBroker"],
}


def run(test: str, transport: type[MemoryTransport], backend: str, patience: float) -> None:
    async def main() -> None:
        with anyio.move_on_after(DEADLINE) as scope:
            async with MemoryHarness(transport) as harness:
                harness.patience = patience
                await getattr(TransportContract(), test)(harness)
        # no way to catch a fault: whoever runs the contract would wait for ever
        if scope.cancelled_caught:
            raise RuntimeError(f"{test} does not end")

    anyio.run(main, backend=backend)


def leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for part in error.exceptions for leaf in leaves(part)]
    return [error]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize(
    ("fault", "test"),
    [(name, test) for name, fault in FAULTS.items() for test in fault.caught_by],
)
def test_a_fault_is_caught(fault: str, test: str, backend: str) -> None:
    with pytest.raises((*FAILURES, BaseExceptionGroup)) as caught:
        run(test, FAULTS[fault].transport, backend, patience=0.25)

    assert all(isinstance(leaf, FAILURES) for leaf in leaves(caught.value)), caught.value


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("test", NAMED)
def test_the_sound_one_is_not(test: str, backend: str) -> None:
    run(test, MemoryTransport, backend, patience=10)


@pytest.mark.parametrize("fear", FEARED)
def test_what_is_feared_most_has_its_transports(fear: str) -> None:
    assert set(FEARED[fear]) <= set(FAULTS)


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
def test_every_promise_catches_somebody(promise: type) -> None:
    assert set(NAMED) & set(vars(promise))
