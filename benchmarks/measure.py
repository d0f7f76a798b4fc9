"""The measurements: each takes one variant and gives its figures for one round."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeAlias

from benchmarks import laden, place, process
from benchmarks.alone import alone
from benchmarks.contender import command, share
from benchmarks.job import Figures, Job, Task
from benchmarks.scale import Scale
from benchmarks.several import delay, latency, loaded, pair, recovery, traffic
from benchmarks.startup import imports
from benchmarks.variant import CHICORY, Variant

Measure: TypeAlias = Callable[[Variant, Scale], Figures]

_WORK: Mapping[str, Mapping[str, Any]] = {
    "1 ms each": {"task": "nap", "nap": 0.001},
    "10 ms each": {"task": "nap", "nap": 0.01},
    "10 ms, 256 at once": {"task": "nap", "nap": 0.01, "concurrency": 256},
    "1 at once": {"concurrency": 1},
    "256 at once": {"concurrency": 256},
    "1 ms of cpu each": {"task": "spin", "nap": 0.001},
    "1 ms of cpu, in threads": {"task": "plain_spin", "nap": 0.001},
    "in threads": {"task": "plain"},
    "10 KiB each": {"task": "blob"},
}
"""What differs from a drain of no-ops."""

_ENDINGS: Mapping[str, Task] = {"succeed": "noop", "fail once": "falter", "fail for good": "fail"}

_FEWER = 4
"""Fewer tasks where they are large: at 64 MB Redis begins to rewrite its file, beside the worker;
the peers, who are given less, would not see that."""


def drain(variant: Variant, scale: Scale) -> Figures:
    """No-ops from a full queue, by one worker of concurrency 32, results stored."""
    return alone(variant, partial(Job, errand="drain", count=share(variant, scale.drained)))


def work(variant: Variant, scale: Scale) -> Figures:
    """Queues of other tasks, and other numbers of tasks at once."""
    found: Figures = {}
    for name, differently in _WORK.items():
        large = differently.get("task") == "blob"
        count = share(variant, scale.worked // _FEWER if large else scale.worked)
        job = partial(Job, errand="drain", count=count, **differently)
        found[name] = alone(variant, job)["drain"]
    return found


def endings(variant: Variant, scale: Scale) -> Figures:
    """No-ops, calls that fail once and are retried at once, and calls that become dead letters."""
    found: Figures = {}
    if variant.who != CHICORY:  # for peers a failure means something else each
        return found
    for name, task in _ENDINGS.items():
        figures = alone(variant, partial(Job, errand="drain", count=scale.worked, task=task))
        found[name], found[f"{name} cpu"] = figures["drain"], figures["drain cpu"]
        if "server cpu" in figures:
            found[f"{name} server cpu"] = figures["server cpu"]
    return found


def enqueue(variant: Variant, scale: Scale) -> Figures:
    """Calls made durable by one process."""
    # the slow are less slow at this
    count = min(scale.enqueued, share(variant, 4 * scale.enqueued))
    return alone(variant, partial(Job, errand="enqueue", count=count))


def sync(variant: Variant, scale: Scale) -> Figures:
    """Calls of one thread that has no event loop, and the same calls on one, in turn."""
    return alone(variant, partial(Job, errand="sync", count=scale.enqueued))


def processes(variant: Variant, scale: Scale) -> Figures:
    """Tasks of 1 ms in processes of their own, and in a pool of the standard library, in turn."""
    job = partial(Job, errand="processes", count=scale.worked, nap=0.001)
    return alone(variant, job)


def idle(variant: Variant, scale: Scale) -> Figures:
    """A worker with nothing to do."""
    return alone(variant, partial(Job, errand="idle", seconds=scale.idle))


def soak(variant: Variant, scale: Scale) -> Figures:
    """The memory of one worker over many tasks; without a broker outside it means nothing."""
    if variant.broker == "memory":
        return {}
    found = _soaked(variant, share(variant, scale.soaked))
    if variant.who == CHICORY:
        failing = _soaked(variant, scale.soaked_oddly, task="fail")
        waits = alone(variant, partial(Job, errand="soak_waits", count=scale.soaked_oddly))
        found["rss growth, failing"] = failing["rss growth"]
        found["rss growth, cancelled waits"] = waits["rss growth"]
    return found


def _soaked(variant: Variant, count: int, **differently: Any) -> Figures:
    with place.fresh(variant.broker) as where:
        job = partial(Job, url=where.url, loop=variant.loop, count=count, **differently)
        program = command(variant)
        process.run(job(errand="fill"), program)
        return process.run(job(errand="soak"), program)


MEASURES: Mapping[str, Measure] = {
    measure.__name__: measure
    for measure in (
        *(drain, enqueue, latency, idle, traffic, delay, recovery, loaded, sync, processes),
        *(pair, work, endings, imports, laden.scale, soak),
    )
}
"""In the order in which they are taken: where time is short, the last ones are left out."""
