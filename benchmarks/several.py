"""Measurements that take several processes: who works, who asks, and who watches."""

from __future__ import annotations

import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import meter, place, process
from benchmarks.alone import alone
from benchmarks.contender import command
from benchmarks.job import Figures, Job
from benchmarks.scale import Scale
from benchmarks.variant import CHICORY, Variant

_SETTLING_DOWN = 2.0
_GLANCE = 0.002


def latency(variant: Variant, scale: Scale) -> Figures:
    """One call at a time; the worker in another process where the broker allows for one."""
    if variant.broker == "memory":
        return alone(variant, partial(Job, errand="echo_alone", count=scale.echoes))
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
