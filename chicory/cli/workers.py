"""``chicory workers`` and ``chicory cleanup``: who works, and who has stopped to."""

from __future__ import annotations

from typing import Annotated, Any

import anyio
from cyclopts import Parameter
from cyclopts.validators import Number

from chicory.cli.locate import Address, reach
from chicory.cli.output import AsJSON, show
from chicory.stats import WorkerStats


def workers(app: Address, /, *, as_json: AsJSON = False) -> None:
    """List the workers that are alive, with what they have done."""

    async def ask() -> list[WorkerStats]:
        async with reach(app) as opened:
            return await opened.backend.get_active_workers()

    found = anyio.run(ask)
    rows = [_row(worker) for worker in found]
    if not as_json:
        rows = [row | {"pid": str(row["pid"])} for row in rows]  # a name, with no thousands
    show(rows, as_json=as_json, empty="no worker is alive")


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
            return await opened.backend.cleanup_stale_clients(stale_seconds=stale_seconds)

    print(f"{anyio.run(remove)} stale workers removed")


def _row(worker: WorkerStats) -> dict[str, Any]:
    return {
        "worker": worker.worker_id,
        "host": worker.hostname,
        "pid": worker.pid,
        "queue": worker.queue,
        "processed": worker.tasks_processed,
        "failed": worker.tasks_failed,
        "active": worker.active_tasks,
        "concurrency": worker.concurrency,
        "uptime_s": round(worker.uptime_seconds),
        "running": ", ".join(sorted({task.name for task in worker.running})),
    }
