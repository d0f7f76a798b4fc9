"""The figures: what they are called, their units, and what is aimed at."""

from __future__ import annotations

from msgspec import Struct


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
    """

    name: str
    unit: str
    aims: dict[str, Aim] = {}
    digits: int = 0
    compared: bool = False


LOOP_AIM = Aim(0.85, at_least=True)
"""What trio is to reach of asyncio's rates."""

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
    Figure("1 ms each", "tasks/s", compared=True),
    Figure("10 ms each", "tasks/s", compared=True),
    Figure("10 ms, 256 at once", "tasks/s", compared=True),
    Figure("1 at once", "tasks/s", compared=True),
    Figure("256 at once", "tasks/s", compared=True),
    Figure("in threads", "tasks/s", compared=True),
    Figure("10 KiB each", "tasks/s", compared=True),
    Figure("enqueue single", "calls/s", compared=True),
    Figure("enqueue 32", "calls/s", compared=True),
    Figure("enqueue bulk", "calls/s", compared=True),
    Figure("latency p50", "ms", {"redis": Aim(2), "nats": Aim(2.5)}, digits=2),
    Figure("latency p99", "ms", digits=2),
    Figure("wake-up p50", "ms", digits=2),
    Figure("wake-up p99", "ms", {"sqlite": Aim(20)}, digits=2),
    Figure("wake-up max", "ms", digits=2),
    Figure("late p50", "ms", digits=1),
    Figure("late p99", "ms", {"redis": Aim(50)}, digits=1),
    Figure("late max", "ms", digits=1),
    Figure("late least", "ms", digits=1),
    Figure("recovery", "s", {"sqlite": Aim(10), "redis": Aim(10), "nats": Aim(10)}, digits=2),
    Figure("idle cpu", "%", {"memory": Aim(2), "sqlite": Aim(2)}, digits=2),
    Figure("idle requests", "1/s", {"redis": Aim(2)}, digits=2),
    Figure("idle in scripts", "1/s", digits=2),
    Figure("rss start", "MiB", digits=1),
    Figure("rss quarter", "MiB", digits=1),
    Figure("rss end", "MiB", digits=1),
    Figure("rss growth", "MiB", {"sqlite": Aim(1)}, digits=1),
    Figure("import", "ms", {"sqlite": Aim(100)}, digits=1),
    Figure("import first use", "ms", digits=1),
    Figure("import dependencies", "ms", digits=1),
)
