"""``chicory demo``: real work on the embedded broker, and what it leaves to look at."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import IO, Annotated, Any

import anyio
from anyio import create_task_group, move_on_after
from anyio.abc import Process
from cyclopts import Parameter
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from chicory.cli.locate import across_processes
from chicory.cli.output import console
from chicory.errors import ChicoryError
from chicory.masking import mask
from chicory.supervision.lifeline import VARIABLE, pair

WORKERS = min(2, os.cpu_count() or 1)
FAREWELL = 10.0
"""Seconds that the workers get to stop."""

Broker = Annotated[
    str | None, Parameter(help="URL of a broker to run it on, in place of a SQLite file here.")
]


def demo(*, broker: Broker = None) -> None:
    """Read every file of the standard library in worker processes, and show how that went."""
    if broker is not None:
        os.environ["CHICORY_BROKER_URL"] = broker
    anyio.run(_demo)


async def _demo() -> None:
    # late, since the demonstration's app takes the broker that was chosen above
    from chicory.cli import findings  # noqa: PLC0415
    from chicory.demo import tour  # noqa: PLC0415

    across_processes(tour.app)
    out = console()
    paths = tour.library()
    address = mask(tour.app.broker_url)
    out.print(
        f"{len(paths):,} files of the standard library, a task each\n"
        f"{WORKERS} worker processes, broker {address}",
        soft_wrap=True,
    )
    async with tour.app:
        await tour.tidy()
        async with _workers():
            await tour.until_ready()
            with _progress(out) as progress:
                bar = progress.add_task("reading", total=len(paths) + 1)
                taken = await tour.take(paths, lambda: progress.advance(bar))
    findings.print_findings(out, taken)
    findings.print_figures(out, taken)
    findings.print_next(out, taken, tour.app.broker_url)


def _progress(out: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.speed:.0f}/s" if out.is_terminal else ""),
        TimeElapsedColumn(),
        console=out,
    )


# -- worker processes ---------------------------------------------------------------------


@asynccontextmanager
async def _workers() -> AsyncGenerator[None]:
    ours, theirs = pair()
    with tempfile.TemporaryFile() as log, ours:
        with theirs:
            processes = [await _start(log, theirs) for _ in range(WORKERS)]
        try:
            async with create_task_group() as group:
                for process in processes:
                    group.start_soon(_watch, process, log)
                yield
                group.cancel_scope.cancel()
        except* ChicoryError as errors:
            raise errors.exceptions[0] from None
        finally:
            await _stop(processes)


async def _start(log: IO[bytes], line: socket.socket) -> Process:
    command = [sys.executable, "-m", "chicory.cli", "worker", "chicory.demo:app"]
    return await anyio.open_process(
        [*command, "--concurrency", "8", "--log-level", "ERROR"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=log,
        **_leash(line),
    )


def _leash(line: socket.socket) -> dict[str, Any]:
    """What has a worker end when this process does, however it does."""
    if os.name != "posix":
        return {}
    return {"pass_fds": [line.fileno()], "env": os.environ | {VARIABLE: str(line.fileno())}}


async def _watch(process: Process, log: IO[bytes]) -> None:
    code = await process.wait()
    log.seek(0)
    said = log.read().decode(errors="replace").strip()
    raise ChicoryError(f"a worker process ended with code {code}: {said[-2000:] or 'no word'}")


async def _stop(processes: list[Process]) -> None:
    for process in processes:
        if process.returncode is None:
            process.terminate()
    with move_on_after(FAREWELL, shield=True):
        for process in processes:
            await process.wait()
    for process in processes:
        if process.returncode is None:
            process.kill()
