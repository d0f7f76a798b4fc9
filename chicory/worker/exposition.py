"""The metrics of a worker as Prometheus reads them; needs prometheus-client."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate

from msgspec import Struct
from prometheus_client import REGISTRY, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from chicory.stats import WorkerStats
from chicory.transport import Counts
from chicory.worker.meter import BUCKETS, Histogram, Meter

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
STATES = ("ready", "delayed", "leased", "dead")


class Readings(Struct, frozen=True):
    """What is exposed.

    Attributes:
        stats: of the worker, now.
        meter: what was measured of its attempts.
        fetched: messages fetched.
        leases_lost: attempts whose outcome did not count.
        loop_lag: seconds that the event loop takes to answer.
        answers: whether the broker answers; ``None`` where it was not asked.
        queues: what is in the queues consumed, where it is known.
    """

    stats: WorkerStats
    meter: Meter
    fetched: int
    leases_lost: int
    loop_lag: float
    answers: bool | None
    queues: Mapping[str, Counts]


def expose(readings: Readings, process: int) -> bytes:
    """The text: ours, and what the program has in prometheus-client's own registry.

    Every series has the label ``process`` but for those of the queues, which all processes share.
    The program's own label of that name becomes ``exported_process``, as Prometheus has it.
    """
    return generate_latest(_Collected([*_labelled(readings, process), *_queues(readings.queues)]))


def _labelled(readings: Readings, process: int) -> Iterator[Metric]:
    for family in (*_counters(readings), *_gauges(readings), *REGISTRY.collect()):
        labelled = Metric(family.name, family.documentation, family.type, family.unit)
        labelled.samples = [
            sample._replace(labels=_of_process(sample.labels, str(process)))
            for sample in family.samples
        ]
        yield labelled


def _of_process(labels: Mapping[str, str], process: str) -> dict[str, str]:
    free = "process"
    while free in labels:
        free = f"exported_{free}"
    theirs = {free if name == "process" else name: value for name, value in labels.items()}
    return {**theirs, "process": process}


class _Collected(Collector):
    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _counters(readings: Readings) -> Iterator[Metric]:
    meter = readings.meter
    yield _by_pair(
        "chicory_tasks", "Attempts that ended.", ("task", "outcome"), dict(meter.outcomes)
    )
    yield _by_pair(
        "chicory_dead_letters", "Dead letters made.", ("task", "reason"), dict(meter.dead_letters)
    )
    yield _histograms(
        "chicory_task_duration_seconds", "Time that attempts ran.", "task", meter.durations
    )
    yield _histograms(
        "chicory_task_wait_seconds",
        "Time from enqueueing, or from when it was due, to the first attempt.",
        "queue",
        meter.waits,
    )
    yield CounterMetricFamily(
        "chicory_messages_fetched", "Messages fetched.", value=readings.fetched
    )
    yield CounterMetricFamily(
        "chicory_leases_lost",
        "Attempts whose lease was lost: their outcome did not count.",
        value=readings.leases_lost,
    )


def _gauges(readings: Readings) -> Iterator[Metric]:
    stats = readings.stats
    yield GaugeMetricFamily("chicory_tasks_active", "Tasks running now.", value=stats.active_tasks)
    yield GaugeMetricFamily(
        "chicory_concurrency", "Tasks that may run at once.", value=stats.concurrency
    )
    yield GaugeMetricFamily(
        "chicory_loop_lag_seconds",
        "Time that the event loop took to answer, or has not answered.",
        value=readings.loop_lag,
    )
    if readings.answers is not None:
        yield GaugeMetricFamily(
            "chicory_broker_up", "Whether the broker answers.", value=readings.answers
        )


def _queues(queues: Mapping[str, Counts]) -> Iterator[Metric]:
    if not queues:
        return
    family = GaugeMetricFamily(
        "chicory_queue_messages", "Messages in a queue, by state.", labels=("queue", "state")
    )
    for queue, counts in queues.items():
        for state in STATES:
            family.add_metric((queue, state), getattr(counts, state))
    yield family


def _by_pair(
    name: str, text: str, labels: tuple[str, str], counts: Mapping[tuple[str, str], int]
) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    for pair, count in counts.items():
        family.add_metric(pair, count)
    return family


def _histograms(name: str, text: str, label: str, found: Mapping[str, Histogram]) -> Metric:
    family = HistogramMetricFamily(name, text, labels=(label,))
    bounds = [*map(str, BUCKETS), "+Inf"]
    for value, histogram in list(found.items()):
        buckets = list(zip(bounds, map(float, accumulate(histogram.counts)), strict=True))
        family.add_metric((value,), buckets, histogram.sum)
    return family
