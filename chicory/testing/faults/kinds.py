"""The kinds of calls of a run: what each one does, and what it must come to."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from random import Random

from chicory.states import TaskState


class Kind(StrEnum):
    """The names of the tasks."""

    BRIEF = "brief"
    SLOW = "slow"
    THREAD = "thread"
    FLAKY = "flaky"
    FAILING = "failing"
    DELAYED = "delayed"
    ONCE = "once"
    CANCELLED = "cancelled"
    BLOCKING = "blocking"
    GREEDY = "greedy"
    DEADLY = "deadly"


ENDS: dict[Kind, frozenset[TaskState]] = {
    **dict.fromkeys(Kind, frozenset({TaskState.SUCCESS})),
    Kind.FAILING: frozenset({TaskState.DEAD_LETTERED}),
    Kind.GREEDY: frozenset({TaskState.DEAD_LETTERED}),
    Kind.DEADLY: frozenset({TaskState.DEAD_LETTERED}),
    Kind.CANCELLED: frozenset({TaskState.CANCELLED, TaskState.SUCCESS}),
}
"""What a call may come to, unless it took too many workers down with it."""

MIXTURE: dict[Kind, int] = {
    Kind.BRIEF: 66,
    Kind.THREAD: 8,
    Kind.FLAKY: 8,
    Kind.DELAYED: 6,
    Kind.SLOW: 5,
    Kind.ONCE: 3,
    Kind.FAILING: 2,
    Kind.CANCELLED: 2,
}
"""Of a hundred calls that producers enqueue."""


def draw(chance: Random, count: int) -> Sequence[Kind]:
    """The kinds of the next calls."""
    return chance.choices(list(MIXTURE), list(MIXTURE.values()), k=count)
