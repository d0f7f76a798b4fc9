"""How much is measured."""

from __future__ import annotations

import math

from msgspec import Struct
from msgspec.structs import replace

from benchmarks.figure import PATIENCE


class Scale(Struct, frozen=True, kw_only=True):
    """Sizes of one run.

    Attributes:
        rounds: how often everything is measured, the variants in turn.
        drained: tasks in the queue when a worker starts.
        enqueued: calls sent one after the other; 4 times as many 32 at once, 16 times 256 at once.
        echoes: calls whose latency is measured, one at a time.
        echoing: seconds after which no more of them are begun.
        loaded: calls whose latency is measured while others come at half the rate of a drain.
        loading: seconds after which no more of them are begun.
        ballast: results, delayed calls and waiting calls that a broker is laden with, of each.
        turns: how often a laden broker is measured beside an empty one.
        sipped: tasks run in each turn.
        asked: calls whose latency is measured in each turn.
        asking: seconds after which no more of them are begun.
        idle: seconds for which a waiting worker's CPU time is measured.
        soaked: tasks that one worker runs while its memory is watched.
        soaked_oddly: tasks that fail, and waits that are cancelled, while it is.
        watched: seconds for which the messages of a waiting worker are counted.
        worked: tasks in the queue where they are other than no-ops.
        delayed: tasks whose lateness is measured.
        patience: seconds that a task may take to begin in another worker.
        imports: interpreters started to time an import.
        budget: seconds that all of it may take: what would take longer is left out.
        rough: whether what takes long is measured on one event loop only.
    """

    rounds: int
    drained: int
    enqueued: int
    echoes: int
    echoing: float
    loaded: int
    loading: float
    ballast: int
    turns: int
    sipped: int
    asked: int
    asking: float
    idle: float
    soaked: int
    soaked_oddly: int
    watched: float
    worked: int
    delayed: int
    patience: float
    imports: int
    budget: float = math.inf
    rough: bool = False


QUICK = Scale(
    rounds=1,
    drained=6_000,
    enqueued=250,
    echoes=100,
    echoing=2.5,
    loaded=200,
    loading=3.0,
    ballast=10_000,
    turns=1,
    sipped=2_000,
    asked=20,
    asking=1.0,
    idle=1.0,
    soaked=8_000,
    soaked_oddly=2_000,
    watched=3.0,
    worked=500,
    delayed=10,
    patience=PATIENCE,
    imports=2,
    budget=95.0,
    rough=True,
)
FULL = Scale(
    rounds=3,
    drained=50_000,
    enqueued=2_000,
    echoes=1_000,
    echoing=30.0,
    loaded=2_000,
    loading=40.0,
    ballast=1_000_000,
    turns=6,
    sipped=20_000,
    asked=100,
    asking=10.0,
    idle=4.0,
    soaked=1_000_000,
    soaked_oddly=200_000,
    watched=20.0,
    worked=10_000,
    delayed=200,
    patience=PATIENCE,
    imports=7,
)

COMPARISON = replace(FULL, rounds=5, drained=30_000)
QUICK_COMPARISON = replace(QUICK, drained=15_000)
