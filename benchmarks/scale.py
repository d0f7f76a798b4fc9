"""How much is measured."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace


class Scale(Struct, frozen=True, kw_only=True):
    """Sizes of one run.

    Attributes:
        rounds: how often everything is measured, the variants in turn.
        drained: tasks in the queue when a worker starts.
        enqueued: calls sent one after the other; 4 times as many 32 at once, 16 times 256 at once.
        echoes: calls whose latency is measured, one at a time.
        idle: seconds for which a waiting worker's CPU time is measured.
        soaked: tasks that one worker runs while its memory is watched.
        watched: seconds for which the messages of a waiting worker are counted.
        worked: tasks in the queue where they are other than no-ops.
        delayed: tasks whose lateness is measured.
        patience: seconds that a task may take to begin in another worker.
        imports: interpreters started to time an import.
    """

    rounds: int
    drained: int
    enqueued: int
    echoes: int
    idle: float
    soaked: int
    watched: float
    worked: int
    delayed: int
    patience: float
    imports: int


QUICK = Scale(
    rounds=1,
    drained=6_000,
    enqueued=300,
    echoes=15,
    idle=1.0,
    soaked=10_000,
    watched=10.0,
    worked=2_000,
    delayed=30,
    patience=60.0,
    imports=2,
)
FULL = Scale(
    rounds=3,
    drained=50_000,
    enqueued=2_000,
    echoes=100,
    idle=4.0,
    soaked=200_000,
    watched=20.0,
    worked=10_000,
    delayed=200,
    patience=60.0,
    imports=7,
)

COMPARISON = replace(FULL, rounds=5, drained=30_000)
QUICK_COMPARISON = replace(QUICK, drained=15_000)
