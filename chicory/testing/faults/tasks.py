"""The tasks of a run, one of each kind."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from hashlib import blake2b
from typing import Any, TypeAlias

import anyio

from chicory import Chicory, DeliveryMode, RetryPolicy, TaskContext
from chicory.clock import Clock
from chicory.config import ChicoryConfig
from chicory.testing.faults.kinds import Kind
from chicory.testing.faults.ledger import Event

Say: TypeAlias = Callable[[Event, str, int], object]
"""Notes an event of a call's attempt; may not return, where a fault is set there."""

BRIEF, SLOW = 0.02, 0.6
"""Seconds that calls take at most."""
RETRIES = 2
DELAY = 1.5
"""Seconds that calls of ``Kind.DELAYED`` are delayed at most."""
_PIECE = 64 << 20


class BrokenOnPurposeError(Exception):
    """What calls fail with."""


def chance(task_id: str) -> float:
    """A number from 0 to 1 that is the same for each attempt of a call."""
    return int.from_bytes(blake2b(task_id.encode(), digest_size=4).digest(), "big") / 2**32


class Work:
    """What the tasks do; each says that it begins and, where it gets that far, what it does."""

    def __init__(self, say: Say) -> None:
        self._say = say

    async def brief(self, ctx: TaskContext) -> str:
        """Take a moment."""
        return await self._take(ctx, BRIEF)

    async def slow(self, ctx: TaskContext) -> str:
        """Take longer."""
        return await self._take(ctx, SLOW)

    def thread(self, ctx: TaskContext) -> str:
        """Take a moment in a thread."""
        self._begin(ctx)
        time.sleep(chance(ctx.task_id) * BRIEF)
        return self._end(ctx)

    async def flaky(self, ctx: TaskContext) -> str:
        """Fail at first."""
        self._begin(ctx)
        if ctx.retries <= chance(ctx.task_id) * RETRIES:
            raise BrokenOnPurposeError("not yet")
        return self._end(ctx)

    async def failing(self, ctx: TaskContext) -> None:
        """Fail."""
        self._begin(ctx)
        raise BrokenOnPurposeError("never")

    async def blocking(self, ctx: TaskContext, seconds: float) -> str:
        """Block the event loop."""
        self._begin(ctx)
        time.sleep(seconds)  # noqa: ASYNC251  (to block is what it is for)
        return self._end(ctx)

    def greedy(self, ctx: TaskContext) -> None:
        """Take all memory, and fail of it."""
        self._begin(ctx)
        pieces: list[bytes] = []
        try:
            while True:  # of pages that are never touched: the machine is not to suffer
                pieces.append(bytes(_PIECE))
        finally:
            pieces.clear()  # the error's traceback holds this frame for a while

    async def deadly(self, ctx: TaskContext) -> None:
        """Kill the worker."""
        self._begin(ctx)
        self._say(Event.KILLED, "", 0)
        os.kill(os.getpid(), signal.SIGKILL)
        await anyio.sleep_forever()

    async def _take(self, ctx: TaskContext, longest: float) -> str:
        self._begin(ctx)
        await anyio.sleep(chance(ctx.task_id) * longest)
        return self._end(ctx)

    def _begin(self, ctx: TaskContext) -> None:
        self._say(Event.STARTED, ctx.task_id, ctx.retries)

    def _end(self, ctx: TaskContext) -> str:
        self._say(Event.EFFECT, ctx.task_id, ctx.retries)
        return ctx.task_id


def make_app(
    url: str,
    say: Say | None = None,
    config: ChicoryConfig | None = None,
    clock: Clock | None = None,
) -> Chicory:
    """The app of workers, and of producers, which say nothing."""
    app = Chicory(url, config=config, clock=clock)
    work = Work(say or _nothing)
    functions: dict[Kind, Callable[..., Any]] = {
        Kind.BRIEF: work.brief,
        Kind.SLOW: work.slow,
        Kind.THREAD: work.thread,
        Kind.FLAKY: work.flaky,
        Kind.FAILING: work.failing,
        Kind.DELAYED: work.brief,
        Kind.ONCE: work.brief,
        Kind.CANCELLED: work.slow,
        Kind.BLOCKING: work.blocking,
        Kind.GREEDY: work.greedy,
        Kind.DEADLY: work.deadly,
    }
    quick = RetryPolicy(max_retries=RETRIES, retry_delay=0.1, jitter=False)
    never = RetryPolicy(max_retries=0)
    for kind, function in functions.items():
        app.task(
            name=kind.value,
            retry_policy=quick if kind is Kind.FLAKY else never,
            delivery_mode=DeliveryMode.AT_MOST_ONCE if kind is Kind.ONCE else None,
        )(function)
    return app


def _nothing(_event: Event, _key: str, _attempt: int) -> None:
    """Said by who runs no task."""
