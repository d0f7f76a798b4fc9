"""Whom chicory is compared with, and what each of them is given."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from msgspec import Struct

from benchmarks import environment, process
from benchmarks.variant import Broker, Scheduling, Variant


class Contender(Struct, frozen=True):
    """One that does the same work.

    Attributes:
        name: of the variant.
        broker: where its queue is.
        program: its module in ``benchmarks.peers``.
        loop: the event loop its figures are listed under.
        requirements: of its environment, pinned; none: that of the benchmark.
        share: of the tasks that chicory is given, so that the slow do not take all day.
        measures: those that mean something for it.
    """

    name: str
    broker: Broker
    program: str
    loop: Scheduling = "uvloop"
    requirements: tuple[str, ...] = ()
    share: float = 0.1
    measures: tuple[str, ...] = (
        *("drain", "pair", "work", "enqueue", "latency", "loaded", "recovery"),
        *("idle", "traffic", "soak"),
    )

    @property
    def variant(self) -> Variant:
        """Its column."""
        return Variant(self.broker, self.loop, self.name)

    def command(self) -> list[str]:
        """Start its program; its environment is made first."""
        interpreter = (
            str(environment.python(self.name, self.requirements))
            if self.requirements
            else sys.executable
        )
        return [interpreter, "-m", f"benchmarks.peers.{self.program}"]

    def versions(self) -> dict[str, str]:
        """What its environment holds; nothing where that is the benchmark's own."""
        return environment.versions(self.name, self.requirements) if self.requirements else {}


_FLOOR = ("drain", "enqueue", "latency")
_UVLOOP = "uvloop==0.23.0"
_HIREDIS = "hiredis==3.5.0"
_REDIS = ("redis==8.1.0", _HIREDIS)

CONTENDERS = (
    Contender("raw-redis", "redis", "raw_redis", loop="asyncio", share=0.5, measures=_FLOOR),
    Contender(
        "raw-redis-joined", "redis", "raw_redis_joined", "asyncio", share=0.5, measures=("drain",)
    ),
    Contender(
        "saq",
        "redis",
        "with_saq",
        requirements=(
            *("saq[redis]==0.26.4", "redis==7.4.1", _HIREDIS, _UVLOOP),
            "typing-extensions==4.16.0",  # which it needs and does not ask for
        ),
    ),
    Contender(
        "taskiq-redis",
        "redis",
        "with_taskiq_redis",
        requirements=("taskiq==0.13.0", "taskiq-redis==1.2.4", *_REDIS, _UVLOOP),
    ),
    Contender(
        "streaq",
        "redis",
        "with_streaq",
        requirements=("streaq==7.2.0", "coredis==6.9.0", _UVLOOP),
    ),
    Contender(
        "docket",
        "redis",
        "with_docket",
        share=0.04,
        requirements=("pydocket==0.27.0", *_REDIS, _UVLOOP),
    ),
    Contender(
        "arq",
        "redis",
        "with_arq",
        share=0.02,
        requirements=("arq==0.28.0", "redis==5.3.1", _HIREDIS, _UVLOOP),
    ),
    Contender(
        "dramatiq",
        "redis",
        "with_dramatiq",
        loop="threads",
        requirements=("dramatiq[redis]==2.2.1", *_REDIS),
    ),
    Contender(
        "celery",
        "redis",
        "with_celery",
        loop="threads",
        share=0.04,
        requirements=("celery==5.7.0", "packaging==26.3", *_REDIS),
    ),
    Contender("raw-nats", "nats", "raw_nats", loop="asyncio", share=0.5, measures=_FLOOR),
    Contender(
        "taskiq-nats",
        "nats",
        "with_taskiq_nats",
        share=0.04,
        requirements=("taskiq==0.13.0", "taskiq-nats==0.7.0", "nats-py==2.16.0", _UVLOOP),
    ),
    Contender(
        "huey",
        "sqlite",
        "with_huey",
        loop="threads",
        share=0.04,
        requirements=("huey==3.5.4",),
    ),
)
"""In the order of the tables."""


def find(variant: Variant) -> Contender | None:
    """Who it is; ``None`` for chicory."""
    return next((one for one in CONTENDERS if one.variant == variant), None)


def against(broker: Broker) -> list[Contender]:
    """Those on that broker."""
    return [one for one in CONTENDERS if one.broker == broker]


def command(variant: Variant) -> Sequence[str]:
    """How an errand is done for it."""
    one = find(variant)
    return one.command() if one else process.CHICORY


def share(variant: Variant, count: int) -> int:
    """How much of that it is given."""
    one = find(variant)
    return max(1, round(count * one.share)) if one else count


def takes_part(variant: Variant, measure: str) -> bool:
    """Whether that measurement means something for it."""
    one = find(variant)
    return one is None or measure in one.measures
