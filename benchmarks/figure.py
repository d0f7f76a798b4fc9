"""The figures: what they are called, their units, and what is aimed at."""

from __future__ import annotations

import math
from collections.abc import Iterator

from msgspec import Struct

from benchmarks.job import BALLASTS
from benchmarks.variant import Broker


class Aim(Struct, frozen=True):
    """A bar, as issue or design set it; which side of it is good depends on the figure."""

    value: float
    at_least: bool = False

    def reached_by(self, value: float) -> bool:
        """Whether a value is on the good side."""
        return value >= self.value if self.at_least else value <= self.value

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.value:,g}"


class Figure(Struct, frozen=True):
    """One row of the table.

    Attributes:
        name: as errands and measures call it.
        unit: of the values.
        aims: by broker.
        digits: after the point.
        compared: whether the ratio of two loops is worth telling.
        limit: a value that large was not reached: nobody waited any longer.
    """

    name: str
    unit: str
    aims: dict[str, Aim] = {}
    digits: int = 0
    compared: bool = False
    limit: float = math.inf

    def text(self, value: float) -> str:
        """What people read."""
        if value >= self.limit:
            return f"> {self.limit:g}"
        return f"{value:,.{self.digits}f}"


LOOP_AIM = Aim(0.85, at_least=True)
"""What trio is to reach of asyncio's rates."""

PATIENCE = 30.0
"""Seconds that a task may take to begin in another worker, until it is given up."""

_SERVED: tuple[Broker, ...] = ("redis", "nats")
_STORED: tuple[Broker, ...] = ("sqlite", *_SERVED)
_ALL: tuple[Broker, ...] = ("memory", *_STORED)


_HALF, _MOST = Aim(0.5, at_least=True), Aim(0.7, at_least=True)
_RATE, _COST = Aim(0.9, at_least=True), Aim(1.1)

LADEN = {
    "drain": _RATE,
    "drain cpu": _COST,
    "server cpu": _COST,
    "enqueue 32": _RATE,
    "enqueue bulk": _RATE,
    "enqueue cpu": _COST,
    "enqueue server cpu": _COST,
    "latency p50": _COST,
}
"""What a broker that holds much is compared by, and the ratio to an empty one aimed at."""


def _scale() -> Iterator[Figure]:
    """How a broker that holds much compares to an empty one, and what that takes."""
    for ballast in BALLASTS:
        for name, aim in LADEN.items():
            yield Figure(f"{name} with {ballast}", "of empty", dict.fromkeys(_ALL, aim), digits=2)
        yield Figure(f"kept per item, {ballast}", "bytes")
        yield Figure(f"server per item, {ballast}", "bytes")
        yield Figure(f"rss laden, {ballast}", "MiB", digits=1)
        yield Figure(f"rss empty, {ballast}", "MiB", digits=1)


def _endings() -> Iterator[Figure]:
    """Calls by how they end."""
    for name in ("succeed", "fail once", "fail for good"):
        yield Figure(name, "calls/s")
        yield Figure(f"{name} cpu", "µs/call", digits=1)
        yield Figure(f"{name} server cpu", "µs/call", digits=1)


FIGURES = (
    Figure(
        "drain",
        "tasks/s",
        {"memory": Aim(40_000, at_least=True), "sqlite": Aim(12_000, at_least=True)},
        compared=True,
    ),
    Figure("drain cpu", "µs/task", digits=1, compared=True),
    Figure("server cpu", "µs/task", digits=1, compared=True),
    Figure("1 process", "tasks/s", compared=True),
    Figure("2 processes", "tasks/s", compared=True),
    Figure("2 processes to 1", "times", dict.fromkeys(_SERVED, Aim(1.7, at_least=True)), digits=2),
    Figure("1 ms each", "tasks/s", compared=True),
    Figure("10 ms each", "tasks/s", compared=True),
    Figure("10 ms, 256 at once", "tasks/s", compared=True),
    Figure("1 at once", "tasks/s", compared=True),
    Figure("256 at once", "tasks/s", compared=True),
    Figure("1 ms of cpu each", "tasks/s", compared=True),
    Figure("1 ms of cpu, in threads", "tasks/s", compared=True),
    Figure("in threads", "tasks/s", compared=True),
    Figure("10 KiB each", "tasks/s", compared=True),
    *_endings(),
    Figure("enqueue single", "calls/s", compared=True),
    Figure("enqueue 32", "calls/s", compared=True),
    Figure("enqueue bulk", "calls/s", compared=True),
    Figure("enqueue rows", "calls/s"),
    Figure("enqueue rows cpu", "µs/call", digits=1),
    Figure("bulk to single", "times", digits=1),
    Figure("bulk to 32", "times", {"sqlite": Aim(5, at_least=True)}, digits=2),
    Figure("enqueue cpu", "µs/call", digits=1, compared=True),
    Figure("enqueue server cpu", "µs/call", digits=1, compared=True),
    Figure("send_sync", "calls/s", compared=True),
    Figure("send_sync share", "of send", dict.fromkeys(_STORED, _HALF), digits=2),
    Figure("1 ms in processes", "tasks/s", compared=True),
    Figure("1 ms in processes, pool", "tasks/s"),
    Figure("1 ms in processes, share", "of pool", dict.fromkeys(_ALL, _MOST), digits=2),
    Figure("1 ms of cpu in processes", "tasks/s", compared=True),
    Figure("1 ms of cpu in processes, pool", "tasks/s"),
    Figure("1 ms of cpu in processes, share", "of pool", dict.fromkeys(_ALL, _MOST), digits=2),
    Figure("latency p50", "ms", {"redis": Aim(2), "nats": Aim(2.5)}, digits=2),
    Figure("latency p99", "ms", digits=2),
    Figure("latency p99.9", "ms", digits=2),
    Figure("loaded p50", "ms", digits=2),
    Figure("loaded p99", "ms", digits=2),
    Figure("loaded p99.9", "ms", digits=2),
    Figure("load", "tasks/s"),
    Figure("load share", "of a drain", digits=2),
    Figure("wake-up p50", "ms", digits=2),
    Figure("wake-up p99", "ms", {"sqlite": Aim(20)}, digits=2),
    Figure("wake-up max", "ms", digits=2),
    Figure("late p50", "ms", digits=1),
    Figure("late p99", "ms", {"redis": Aim(50)}, digits=1),
    Figure("late p99.9", "ms", digits=1),
    Figure("late max", "ms", digits=1),
    Figure("late least", "ms", digits=1),
    Figure("recovery", "s", dict.fromkeys(_STORED, Aim(10)), digits=2, limit=PATIENCE),
    Figure("idle cpu", "%", {"memory": Aim(2), "sqlite": Aim(2)}, digits=2),
    Figure("idle requests", "1/s", {"redis": Aim(2)}, digits=2),
    Figure("idle in scripts", "1/s", digits=2),
    *_scale(),
    Figure("rss start", "MiB", digits=1),
    Figure("rss quarter", "MiB", digits=1),
    Figure("rss end", "MiB", digits=1),
    Figure("rss growth", "MiB", dict.fromkeys(_STORED, Aim(1)), digits=1),
    Figure("rss growth, failing", "MiB", dict.fromkeys(_STORED, Aim(1)), digits=1),
    Figure("rss growth, cancelled waits", "MiB", dict.fromkeys(_STORED, Aim(1)), digits=1),
    Figure("import", "ms", {"sqlite": Aim(100)}, digits=1),
    Figure("import first use", "ms", digits=1),
    Figure("import dependencies", "ms", digits=1),
)
