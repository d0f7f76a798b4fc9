"""What is compared: a broker on an event loop, used by chicory or another."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Literal, TypeAlias, get_args

from msgspec import Struct

Broker: TypeAlias = Literal["memory", "sqlite", "redis", "nats"]
Loop: TypeAlias = Literal["asyncio", "trio", "uvloop"]
Scheduling: TypeAlias = Loop | Literal["threads"]

BROKERS: tuple[Broker, ...] = get_args(Broker)
SERVERLESS: tuple[Broker, ...] = ("memory", "sqlite")
"""Those that are measured unless others are asked for."""

LOOPS: tuple[Loop, ...] = get_args(Loop)


CHICORY = "chicory"


class Variant(Struct, frozen=True):
    """One column of a table; ``who`` is chicory or a contender."""

    broker: Broker
    loop: Scheduling
    who: str = CHICORY

    @property
    def label(self) -> str:
        """What people read."""
        return f"{self.who}, {self.loop}"


def loops() -> Sequence[Loop]:
    """The event loops that are installed; asyncio, which the others are compared with, first."""
    return [loop for loop in LOOPS if find_spec(loop)]
