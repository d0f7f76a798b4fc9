"""Measurements that take several processes: who works, who asks, and who watches."""

from __future__ import annotations

import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import meter, place, process
from benchmarks.alone import alone
from benchmarks.contender import command, share
from benchmarks.job import Figures, Job
from benchmarks.scale import Scale
from benchmarks.variant import Variant

_SETTLING_DOWN = 2.0
_GLANCE = 0.002
_SHORT_PAUSES = (0.0, 0.02)
"""Seconds between two calls where it does not matter that everybody sleeps."""


def latency(variant: Variant, scale: Scale) -> Figures:
    """One call at a time; the worker in another process where the broker allows for one."""
    if variant.broker == "memory":
        return alone(
            variant, partial(Job, errand="echo_alone", count=scale.echoes, seconds=scale.echoing)
        )
    with place.fresh(variant.broker) as where:
        program = command(variant)
        job = partial(Job, url=where.url, loop=variant.loop)
        with process.served(job(errand="serve"), program):
            echo = job(errand="echo", count=scale.echoes, seconds=scale.echoing)
            return process.run(echo, program)


def loaded(variant: Variant, scale: Scale) -> Figures:
    """Single calls, timed while a third process enqueues at half the rate of a drain."""
    if variant.broker == "memory":
        return {}
    full = alone(variant, partial(Job, errand="drain", count=share(variant, scale.drained)))
    program = command(variant)
    with place.fresh(variant.broker) as where:
        job = partial(Job, url=where.url, loop=variant.loop)
        press = job(errand="press", rate=full["drain"] / 2)
        with process.served(job(errand="serve"), program), process.served(press, program) as others:
            echo = job(
                errand="echo", count=scale.loaded, seconds=scale.loading, pauses=_SHORT_PAUSES
            )
            timed = process.run(echo, program)
            process.end_input(others)
            reached = process.answer(others)["rate"]
    return {
        **{name.replace("latency", "loaded"): timed[name] for name in timed if "latency" in name},
        "loaded calls timed": timed["calls timed"],
        "load": reached,
        "load share": reached / full["drain"],
    }


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


def delay(variant: Variant, scale: Scale) -> Figures:
    """How late a worker that waits begins delayed tasks."""
    if variant.broker == "memory":
        return {}
    with place.fresh(variant.broker) as where:
        job = partial(Job, url=where.url, loop=variant.loop, count=scale.delayed)
        with process.served(job(errand="serve")):
            return process.run(job(errand="delay"))


def recovery(variant: Variant, scale: Scale) -> Figures:
    """Seconds from the SIGKILL of a worker until its task begins in another one that waits.

    Where it does not begin while anybody has the patience, it is that.
    """
    if variant.broker == "memory":
        return {}
    with place.fresh(variant.broker) as where, TemporaryDirectory() as folder:
        marks = Path(folder) / "marks"
        job = partial(Job, url=where.url, loop=variant.loop, path=str(marks))
        program = command(variant)
        with process.served(job(errand="serve"), program) as victim:
            process.run(job(errand="strand"), program)
            if _line(marks, 0, scale.patience) is None:
                raise RuntimeError(f"no task began within {scale.patience} seconds")
            with process.served(job(errand="serve"), program):
                victim.kill()
                killed = time.monotonic()
                begun = _line(marks, 1, scale.patience)
                return {"recovery": scale.patience if begun is None else begun - killed}


def pair(variant: Variant, scale: Scale) -> Figures:
    """Two worker processes on one queue, and one on as many tasks."""
    if variant.broker == "memory":
        return {}
    return {
        "1 process": (one := _together(1, variant, share(variant, scale.drained))),
        "2 processes": (two := _together(2, variant, share(variant, scale.drained))),
        "2 processes to 1": two / one,
    }


def _together(workers: int, variant: Variant, count: int) -> float:
    with place.fresh(variant.broker) as where, ExitStack() as stack:
        job = partial(Job, url=where.url, loop=variant.loop, count=count)
        program = command(variant)
        process.run(job(errand="fill"), program)
        children = [
            stack.enter_context(process.served(job(errand="partake"), program))
            for _ in range(workers)
        ]
        for child in children:
            process.end_input(child)
        parts = [process.answer(child) for child in children]
    if sum(part["done"] for part in parts) != count:
        raise RuntimeError(f"this measurement is void: {parts}")
    begin, end = min(part["begin"] for part in parts), max(part["end"] for part in parts)
    return count / (end - begin)


def _line(path: Path, number: int, patience: float) -> float | None:
    end = time.monotonic() + patience
    while time.monotonic() < end:
        lines = path.read_text(encoding="ascii").splitlines() if path.exists() else []
        if len(lines) > number:
            return float(lines[number])
        time.sleep(_GLANCE)
    return None
