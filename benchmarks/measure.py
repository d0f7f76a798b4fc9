"""The measurements: each takes one variant and gives its figures for one round."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

from benchmarks import meter, place, process
from benchmarks.contender import command, share
from benchmarks.job import Figures, Job
from benchmarks.scale import Scale
from benchmarks.variant import CHICORY, Variant

Measure: TypeAlias = Callable[[Variant, Scale], Figures]

_SETTLING_DOWN = 2.0
_GLANCE = 0.002
_WORK: Mapping[str, Mapping[str, Any]] = {
    "1 ms each": {"task": "nap", "nap": 0.001},
    "10 ms each": {"task": "nap", "nap": 0.01},
    "10 ms, 256 at once": {"task": "nap", "nap": 0.01, "concurrency": 256},
    "1 at once": {"concurrency": 1},
    "256 at once": {"concurrency": 256},
    "in threads": {"task": "plain"},
    "10 KiB each": {"task": "blob"},
}
"""What differs from a drain of no-ops."""

_FIRST_USE = "from chicory import Chicory, Worker; Chicory()"
_DEPENDENCIES = "import anyio, asyncio, importlib.metadata, msgspec"


def drain(variant: Variant, scale: Scale) -> Figures:
    """No-ops from a full queue, by one worker of concurrency 32, results stored."""
    return _alone(variant, partial(Job, errand="drain", count=share(variant, scale.drained)))


def enqueue(variant: Variant, scale: Scale) -> Figures:
    """Calls made durable by one process."""
    return _alone(variant, partial(Job, errand="enqueue", count=share(variant, scale.enqueued)))


def idle(variant: Variant, scale: Scale) -> Figures:
    """A worker with nothing to do."""
    return _alone(variant, partial(Job, errand="idle", seconds=scale.idle))


def latency(variant: Variant, scale: Scale) -> Figures:
    """One call at a time; the worker in another process where the broker allows for one."""
    if variant.broker == "memory":
        return _alone(variant, partial(Job, errand="echo_alone", count=scale.echoes))
    with place.fresh(variant.broker) as where:
        program = command(variant)
        job = partial(Job, url=where.url, loop=variant.loop, count=_echoes(variant, scale))
        with process.served(job(errand="serve"), program):
            return process.run(job(errand="echo"), program)


def traffic(variant: Variant, scale: Scale) -> Figures:
    """What a worker that waits asks of its server, its heartbeats among it."""
    if variant.broker not in {"redis", "nats"}:
        return {}
    with place.fresh(variant.broker) as where:
        job = Job(errand="serve", url=where.url, loop=variant.loop)
        with process.served(job, command(variant)):
            time.sleep(_SETTLING_DOWN)
            seen = meter.seen(where.url, scale.watched)
    inside = sum(count for name, count in seen.items() if name.startswith("lua "))
    return {
        "idle requests": (seen.total() - inside) / scale.watched,
        "idle in scripts": inside / scale.watched,
    }


def work(variant: Variant, scale: Scale) -> Figures:
    """Queues of other tasks, and other numbers of tasks at once."""
    found: Figures = {}
    for name, differently in _WORK.items():
        count = share(variant, scale.worked)
        job = partial(Job, errand="drain", count=count, **differently)
        found[name] = _alone(variant, job)["drain"]
    return found


def delay(variant: Variant, scale: Scale) -> Figures:
    """How late a worker that waits begins delayed tasks."""
    if variant.broker == "memory":
        return {}
    with place.fresh(variant.broker) as where:
        job = partial(Job, url=where.url, loop=variant.loop, count=scale.delayed)
        with process.served(job(errand="serve")):
            return process.run(job(errand="delay"))


def recovery(variant: Variant, scale: Scale) -> Figures:
    """Seconds from the SIGKILL of a worker until its task begins in another one that waits."""
    if variant.broker == "memory":
        return {}
    with place.fresh(variant.broker) as where, TemporaryDirectory() as folder:
        marks = Path(folder) / "marks"
        job = partial(Job, url=where.url, loop=variant.loop, path=str(marks))
        with process.served(job(errand="serve")) as victim:
            process.run(job(errand="strand"))
            _line(marks, 0, scale.patience)
            with process.served(job(errand="serve")):
                victim.kill()
                killed = time.monotonic()
                return {"recovery": _line(marks, 1, scale.patience) - killed}


def pair(variant: Variant, scale: Scale) -> Figures:
    """Two worker processes on one queue, and one on as many tasks."""
    if variant.broker == "memory":
        return {}
    return {
        "1 process": _together(1, variant, scale.drained),
        "2 processes": _together(2, variant, scale.drained),
    }


def soak(variant: Variant, scale: Scale) -> Figures:
    """The memory of one worker over many tasks; without a broker outside it means nothing."""
    if variant.broker == "memory":
        return {}
    with place.fresh(variant.broker) as where:
        job = partial(Job, url=where.url, loop=variant.loop, count=scale.soaked)
        process.run(job(errand="fill"))
        return process.run(job(errand="soak"))


def imports(variant: Variant, scale: Scale) -> Figures:
    """What importing chicory adds to the start of an interpreter; the same for every variant."""
    if variant != Variant("sqlite", "asyncio"):
        return {}
    programs = {
        "import": "import chicory",
        "import first use": _FIRST_USE,
        "import dependencies": _DEPENDENCIES,
    }
    found: dict[str, list[float]] = {name: [] for name in programs}
    with TemporaryDirectory() as folder:
        for _ in range(scale.imports):
            bare = _start("pass", folder)
            for name, program in programs.items():
                found[name].append(1000 * (_start(program, folder) - bare))
    return {name: statistics.median(samples) for name, samples in found.items()}


MEASURES: Mapping[str, Measure] = {
    measure.__name__: measure
    for measure in (
        *(drain, pair, work, enqueue, latency, delay, recovery),
        *(idle, traffic, soak, imports),
    )
}


def _alone(variant: Variant, job: Callable[..., Job]) -> Figures:
    with place.fresh(variant.broker) as where:
        return process.run(
            job(url=where.url, server=where.server, loop=variant.loop), command(variant)
        )


def _echoes(variant: Variant, scale: Scale) -> int:
    # those that poll for results take a second for each
    return scale.echoes if variant.who == CHICORY else max(10, scale.echoes // 4)


def _together(workers: int, variant: Variant, count: int) -> float:
    with place.fresh(variant.broker) as where, ExitStack() as stack:
        job = partial(Job, url=where.url, loop=variant.loop, count=count)
        process.run(job(errand="fill"))
        children = [
            stack.enter_context(process.served(job(errand="partake"))) for _ in range(workers)
        ]
        for child in children:
            process.end_input(child)
        shares = [process.answer(child) for child in children]
    if sum(share["done"] for share in shares) != count:
        raise RuntimeError(f"this measurement is void: {shares}")
    begin, end = min(share["begin"] for share in shares), max(share["end"] for share in shares)
    return count / (end - begin)


def _line(path: Path, number: int, patience: float) -> float:
    end = time.monotonic() + patience
    while time.monotonic() < end:
        lines = path.read_text(encoding="ascii").splitlines() if path.exists() else []
        if len(lines) > number:
            return float(lines[number])
        time.sleep(_GLANCE)
    raise RuntimeError(f"no task began within {patience} seconds")


def _start(program: str, folder: str) -> float:
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", program], cwd=folder, check=True)
    return time.perf_counter() - begin
