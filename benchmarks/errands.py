"""What child processes do. Each errand is named in a ``Job`` and answers with its figures."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

import anyio
from anyio import to_thread
from msgspec import json

from benchmarks import calling, draining, lading, pooling, waiting
from benchmarks.job import Figures, Job


async def attend(_: Job) -> Figures:
    """Errand after errand, as lines of standard input ask for them: what is in memory stays."""
    print("ready", flush=True)
    while line := await to_thread.run_sync(sys.stdin.readline):
        job = json.decode(line, type=Job)
        print(json.encode(await ERRANDS[job.errand](job)).decode(), flush=True)
    return {}


ERRANDS: Mapping[str, Callable[[Job], Awaitable[Figures]]] = {
    errand.__name__: errand
    for errand in (
        *(draining.fill, draining.enqueue, draining.add, draining.drain, draining.sip),
        *(draining.partake, draining.soak, draining.soak_waits, lading.lade),
        *(waiting.idle, waiting.serve, waiting.echo, waiting.echo_alone),
        *(waiting.delay, waiting.press, waiting.strand),
        *(calling.sync, pooling.processes, attend),
    )
}


def run(job: Job) -> Figures:
    """Do the errand on its event loop."""
    backend = "trio" if job.loop == "trio" else "asyncio"
    options = {"use_uvloop": True} if job.loop == "uvloop" else {}
    return anyio.run(partial(ERRANDS[job.errand], job), backend=backend, backend_options=options)
