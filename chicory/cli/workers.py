"""``chicory workers`` and ``chicory cleanup``: who works, and who has stopped to."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated, Any

import anyio
from cyclopts import Parameter
from cyclopts.validators import Number

from chicory.app import Chicory
from chicory.cli.locate import Address, reach
from chicory.cli.output import AsJSON, show, span
from chicory.cli.watch import Rows, watched
from chicory.errors import ConfigurationError
from chicory.stats import WorkerStats

NOBODY = "no worker is alive"
INTERVAL = 2.0
NAMED = 10
"""Running tasks that the table names, of each worker."""

Watch = Annotated[
    bool, Parameter(negative=(), help="Look again and again, until control-C; the table stays.")
]
Interval = Annotated[
    float | None,
    Parameter(
        help=f"Seconds between two looks, with --watch; {INTERVAL:g} if none are given.",
        validator=Number(gt=0),
    ),
]


def workers(
    app: Address,
    /,
    *,
    watch: Watch = False,
    interval: Interval = None,
    as_json: AsJSON = False,
) -> None:
    """List the workers that are alive, with what they have done and what they run."""
    if interval is not None and not watch:
        raise ConfigurationError("--interval goes with --watch")

    async def look_once() -> None:
        async with reach(app) as opened:
            show(await _look(opened, as_json=as_json), as_json=as_json, empty=NOBODY)

    async def keep_looking() -> None:
        async with reach(app) as opened:
            await watched(
                lambda: _look(opened, as_json=as_json), interval or INTERVAL, NOBODY, as_json
            )

    if watch:
        with suppress(KeyboardInterrupt):  # that is how one ends it
            anyio.run(keep_looking)
    else:
        anyio.run(look_once)


def cleanup(
    app: Address,
    /,
    *,
    stale_seconds: Annotated[
        float, Parameter(help="Seconds of silence that mean death.", validator=Number(gte=0))
    ] = 60.0,
) -> None:
    """Remove the records of workers that died; their tasks need no cleaning up."""

    async def remove() -> int:
        async with reach(app) as opened:
            removed = await opened.broker.cleanup_stale_clients(None, stale_seconds)
            if opened.backend_link not in {None, opened.broker_link}:  # each has a record of each
                results = await opened.backend.cleanup_stale_clients(stale_seconds)
                removed = max(removed, results)
            return removed

    print(f"{anyio.run(remove)} stale workers removed")


async def _look(app: Chicory, *, as_json: bool) -> Rows:
    found, now = await app.backend.get_active_workers(), app.clock.now()
    return [facts(worker, now) if as_json else row(worker, now) for worker in found]


def facts(worker: WorkerStats, now: float) -> dict[str, Any]:
    """What programs are told of a worker."""
    return {
        "worker": worker.worker_id,
        "host": worker.hostname,
        "pid": worker.pid,
        "queue": worker.queue,
        "queues": worker.queues,
        "processed": worker.tasks_processed,
        "failed": worker.tasks_failed,
        "active": worker.active_tasks,
        "concurrency": worker.concurrency,
        "uptime_s": round(now - worker.started_at.timestamp()),
        "last_seen": worker.last_heartbeat,
        "last_seen_s": _age(worker, now),
        "running": [
            {"task": r.name, "id": r.task_id, "since": datetime.fromtimestamp(r.since, UTC)}
            for r in worker.running
        ],
    }


def row(worker: WorkerStats, now: float) -> dict[str, Any]:
    """What people are told of a worker."""
    told = facts(worker, now)
    age = told.pop("last_seen_s")
    for name in ("queues", "uptime_s", "last_seen", "running"):
        del told[name]
    return told | {
        "pid": str(worker.pid),  # a name, with no thousands
        "uptime": span(now - worker.started_at.timestamp()),
        "last_seen": "never" if age is None else f"{span(age)} ago",
        "running": _running(worker, now),
    }


def _age(worker: WorkerStats, now: float) -> float | None:
    beat = worker.last_heartbeat
    return None if beat is None else max(0.0, round(now - beat.timestamp(), 1))


def _running(worker: WorkerStats, now: float) -> list[str]:
    named = worker.running[:NAMED]
    more = worker.active_tasks - len(named)
    lines = [f"{each.name} {each.task_id} for {span(now - each.since)}" for each in named]
    return lines + ([f"and {more:,} more"] if more > 0 else [])
