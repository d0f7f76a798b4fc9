"""The tour: every file of the standard library becomes a task; what came of it, in figures."""

from __future__ import annotations

import sysconfig
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from anyio import CapacityLimiter, create_task_group
from msgspec import Struct

from chicory.broker import DLQMessage
from chicory.demo.source import FileReport, Function
from chicory.demo.tasks import LOST, app, ping, read
from chicory.errors import TaskError
from chicory.result import AsyncResult

PINGS = 200
AT_ONCE = 256
"""Calls that are enqueued together: they share round trips."""


class Tour(Struct, kw_only=True):
    """What was measured.

    Attributes:
        reports: one for each file that was read.
        seconds: from the first enqueue to the last result.
        enqueuing: seconds of it until the last call was accepted.
        latencies: seconds from enqueue to result, of each call, sorted; the queue is full then.
        idle_latencies: the same for calls that find nothing else to wait for.
        dead: the dead letters left.
    """

    reports: list[FileReport]
    seconds: float
    enqueuing: float
    latencies: list[float]
    idle_latencies: list[float]
    dead: list[DLQMessage]

    @property
    def calls(self) -> int:
        """Calls that came to an end."""
        return len(self.latencies)

    @property
    def retries(self) -> int:
        """Attempts after the first one, of all calls."""
        retried = sum(report.attempts - 1 for report in self.reports)
        return retried + sum(letter.retry_count for letter in self.dead)

    def ranked(self, quality: Callable[[Function], int], most: int) -> list[tuple[str, Function]]:
        """The functions of which this quality is highest, with their files."""
        found = [(report.path, function) for report in self.reports for function in report.notable]
        return sorted(found, key=lambda pair: -quality(pair[1]))[:most]

    def imports(self, most: int) -> list[tuple[str, int]]:
        """The modules that most files import."""
        return Counter(name for r in self.reports for name in r.imports).most_common(most)


def library() -> list[str]:
    """The Python files of the standard library of the running interpreter."""
    root = Path(sysconfig.get_path("stdlib"))
    foreign = {"site-packages", "dist-packages", "__pycache__"}
    return sorted(str(path) for path in root.rglob("*.py") if not foreign & set(path.parts))


def percentile(values: Sequence[float], share: float) -> float:
    """The value that this share of the sorted ``values`` does not exceed; 0 of none."""
    return values[min(len(values) - 1, int(len(values) * share))] if values else 0.0


async def tidy() -> None:
    """Remove what an earlier tour left in the queue and among the dead letters."""
    await app.broker.purge_queue()
    await app.broker.purge_dlq()


async def until_ready() -> None:
    """Return once a worker answers."""
    await (await ping.delay()).get(None)


async def take(paths: Sequence[str], advance: Callable[[], None]) -> Tour:
    """Have the files read, and one that is not there; ``advance`` is called for each result."""
    began = time.perf_counter()
    handles, sent = await _enqueue([*paths, LOST])
    enqueuing = time.perf_counter() - began
    reports: list[FileReport] = []
    latencies: list[float] = []
    async for handle in app.as_completed(handles):
        latencies.append(time.perf_counter() - sent[handle.task_id])
        with suppress(TaskError):  # it is among the dead letters
            reports.append(await handle.get())
        advance()
    return Tour(
        reports=reports,
        seconds=time.perf_counter() - began,
        enqueuing=enqueuing,
        latencies=sorted(latencies),
        idle_latencies=sorted(await _ping()),
        dead=await app.broker.get_dlq_messages(),
    )


async def _enqueue(
    paths: Sequence[str],
) -> tuple[list[AsyncResult[FileReport]], dict[str, float]]:
    handles: list[AsyncResult[FileReport]] = []
    sent: dict[str, float] = {}
    limiter = CapacityLimiter(AT_ONCE)

    async def enqueue(path: str) -> None:
        async with limiter:
            now = time.perf_counter()
            handle = await read.delay(path)
        handles.append(handle)
        sent[handle.task_id] = now

    async with create_task_group() as group:
        for path in paths:
            group.start_soon(enqueue, path)
    return handles, sent


async def _ping() -> list[float]:
    latencies: list[float] = []
    for _ in range(PINGS):
        now = time.perf_counter()
        await (await ping.delay()).get()
        latencies.append(time.perf_counter() - now)
    return latencies
