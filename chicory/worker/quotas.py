"""Which attempts may run, where a task or what runs it has a limit of its own.

An attempt whose quota is full leaves its slot to others and waits aside, its lease renewed. It goes
back to the queue, for other workers, when it has waited for long; and soon if more wait before it
than can begin next. So neither slots nor messages are kept from whom they could serve.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import anyio
from anyio import Event

from chicory.config import WorkerConfig
from chicory.task import Task
from chicory.worker.attempt import Attempt
from chicory.worker.quota import Quota

NEXT = 1.0
"""Seconds that those wait at most who are next.

These are as many of a task as may run at once, or as were let in within the last ``HOARDING``.
"""
HOARDING = 0.1
"""Seconds that those wait at most who are not."""
SOON = 0.25
"""Seconds after which one that was next, and has been given back, is offered again."""
LATER = 1.0
"""Seconds after which one that was not is: till then the worker looks past it."""


class Quotas:
    """Lets attempts in, in the order in which they came.

    Args:
        tasks: those of the worker.
        config: how many threads and processes there are.
        resume: called with an attempt that waited, when it is its turn.
    """

    def __init__(
        self,
        tasks: Mapping[str, Task[..., Any]],
        config: WorkerConfig,
        resume: Callable[[Attempt], None],
    ) -> None:
        self._resume = resume
        self._quotas = _quotas(tasks, config)
        self._aside: dict[Attempt, None] = {}
        self._arrival: Event | None = None
        self._let = Counter[str]()

    def __len__(self) -> int:
        return len(self._aside)

    def admit(self, attempt: Attempt) -> bool:
        """Whether it may run now; if not it is kept aside."""
        quotas = self._quotas.get(attempt.name)
        if quotas is None or self._take(attempt, quotas):
            return True
        attempt.aside_since = time.monotonic()
        self._aside[attempt] = None
        if self._arrival is not None:
            self._arrival.set()
        return False

    def leave(self, attempt: Attempt) -> None:
        """It has come to an end: another one takes its place, if it had one."""
        if attempt.aside_since:
            self._return(attempt)
        elif attempt.quotas:
            for quota in attempt.quotas:
                quota.taken -= 1
            attempt.quotas = ()
            self._let_in()

    def take_back(self) -> list[Attempt]:
        """Those that wait; they leave when they are concluded."""
        return list(self._aside)

    async def run(self, give_back: Callable[[Attempt, float], None]) -> None:
        """Give back, for so many seconds, those that wait for too long; until cancelled."""
        while True:
            if not self._aside:
                self._arrival = Event()
                await self._arrival.wait()
                self._arrival = None
            self._let.clear()
            await anyio.sleep(HOARDING)
            for attempt, delay in list(self._overdue(time.monotonic())):
                give_back(attempt, delay)

    def _overdue(self, now: float) -> Iterator[tuple[Attempt, float]]:
        before = Counter[str]()
        for attempt in self._aside:
            name = attempt.name
            limit = min(quota.limit for quota in self._quotas[name])
            is_next = before[name] < max(limit, self._let[name])
            before[name] += 1
            if now - attempt.aside_since >= (NEXT if is_next else HOARDING):
                yield attempt, SOON if is_next else LATER

    def _let_in(self) -> None:
        """One place is free, of each kind: that is room for one attempt."""
        for attempt in self._aside:
            if self._take(attempt, self._quotas[attempt.name]):
                self._return(attempt)
                self._resume(attempt)
                return

    def _return(self, attempt: Attempt) -> None:
        attempt.aside_since = 0.0
        del self._aside[attempt]

    def _take(self, attempt: Attempt, quotas: tuple[Quota, ...]) -> bool:
        for quota in quotas:
            if quota.is_full:
                return False
        for quota in quotas:
            quota.taken += 1
        attempt.quotas = quotas
        self._let[attempt.name] += 1
        return True


def _quotas(
    tasks: Mapping[str, Task[..., Any]], config: WorkerConfig
) -> Mapping[str, tuple[Quota, ...]]:
    """The limits of each task that has some which can be reached."""
    most = config.concurrency
    shared = {"thread": Quota(config.threads or most), "process": Quota(config.processes)}
    found: dict[str, tuple[Quota, ...]] = {}
    for name, task in tasks.items():
        own = task.settings.max_concurrency
        quotas = [Quota(own)] if own is not None else []
        if task.executor in shared:
            quotas.append(shared[task.executor])
        reachable = tuple(quota for quota in quotas if quota.limit < most)
        if reachable:
            found[name] = reachable
    return found
