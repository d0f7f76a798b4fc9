"""One child process on a place of its own."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks import place, process
from benchmarks.contender import command
from benchmarks.job import Figures, Job
from benchmarks.variant import Variant


def alone(variant: Variant, job: Callable[..., Job]) -> Figures:
    """The figures of a job that is still to be told where and on what loop."""
    with place.fresh(variant.broker) as where:
        return process.run(
            job(url=where.url, server=where.server, loop=variant.loop), command(variant)
        )
