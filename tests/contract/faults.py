"""Broken transports by name, and which tests of the contract must catch each one."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

from chicory.testing.memory import MemoryTransport
from chicory.testing.store import Store

T = TypeVar("T", bound=type[MemoryTransport] | type[Store])


class Fault(NamedTuple):
    """A transport with one fault."""

    transport: type[MemoryTransport]
    caught_by: Sequence[str]


FAULTS: dict[str, Fault] = {}


def caught_by(*tests: str) -> Callable[[T], T]:
    """Note a faulty transport, or a transport with a faulty store."""

    def note(broken: T) -> T:
        transport = broken
        if issubclass(broken, Store):
            transport = type(broken.__name__, (MemoryTransport,), {"store_type": broken})
        FAULTS[broken.__name__] = Fault(transport, tests)
        return broken

    return note
