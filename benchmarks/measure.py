"""The measurements: each takes one variant and gives its figures for one round."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from tempfile import TemporaryDirectory
from typing import TypeAlias

from benchmarks import place, process
from benchmarks.job import Figures, Job
from benchmarks.scale import Scale
from benchmarks.variant import Variant

Measure: TypeAlias = Callable[[Variant, Scale], Figures]

_FIRST_USE = "from chicory import Chicory, Worker; Chicory()"
_DEPENDENCIES = "import anyio, asyncio, importlib.metadata, msgspec"


def drain(variant: Variant, scale: Scale) -> Figures:
    """No-ops from a full queue, by one worker of concurrency 32, results stored."""
    return _alone(variant, partial(Job, errand="drain", count=scale.drained))


def enqueue(variant: Variant, scale: Scale) -> Figures:
    """Calls made durable by one process."""
    return _alone(variant, partial(Job, errand="enqueue", count=scale.enqueued))


def idle(variant: Variant, scale: Scale) -> Figures:
    """A worker with nothing to do."""
    return _alone(variant, partial(Job, errand="idle", seconds=scale.idle))


def latency(variant: Variant, scale: Scale) -> Figures:
    """One call at a time; the worker in another process where the broker allows for one."""
    if variant.broker == "memory":
        return _alone(variant, partial(Job, errand="echo_alone", count=scale.echoes))
    with place.fresh(variant.broker) as url:
        job = partial(Job, url=url, loop=variant.loop, count=scale.echoes)
        with process.served(job(errand="serve")):
            return process.run(job(errand="echo"))


def soak(variant: Variant, scale: Scale) -> Figures:
    """The memory of one worker over many tasks; without a broker outside it means nothing."""
    if variant.broker == "memory":
        return {}
    with place.fresh(variant.broker) as url:
        job = partial(Job, url=url, loop=variant.loop, count=scale.soaked)
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
    measure.__name__: measure for measure in (drain, enqueue, latency, idle, soak, imports)
}


def _alone(variant: Variant, job: Callable[..., Job]) -> Figures:
    with place.fresh(variant.broker) as url:
        return process.run(job(url=url, loop=variant.loop))


def _start(program: str, folder: str) -> float:
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", program], cwd=folder, check=True)
    return time.perf_counter() - begin
