"""What a worker exposes for Prometheus, read by its own parser."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from datetime import UTC, datetime

import anyio
import pytest
from anyio import Event, to_thread
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.parser import text_string_to_metric_families

from chicory import DeliveryMode, RetryPolicy, TaskMessage, Worker, WorkerConfig
from chicory.stats import WorkerStats
from chicory.transport import Publication, Settled
from chicory.worker.exposition import Readings, expose
from chicory.worker.meter import Meter

PATIENCE = 60


class Scrape:
    """Values by name and labels."""

    def __init__(self, text: str) -> None:
        self.families = {family.name: family for family in text_string_to_metric_families(text)}
        self._samples = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in self.families.values()
            for sample in family.samples
        }

    def __call__(self, name: str, **labels: str) -> float | None:
        return self._samples.get((f"chicory_{name}", frozenset(labels.items())))

    def tasks(self, task: str) -> dict[str, float]:
        return {
            sample.labels["outcome"]: sample.value
            for sample in self.families["chicory_tasks"].samples
            if sample.labels["task"] == task
        }


class Scraped:
    def __init__(self, app) -> None:
        self.app = app
        self.respond = None

    def endpoint(self, respond):
        self.respond = respond
        return nullcontext()

    @asynccontextmanager
    async def worker(self, queues=None, **settings) -> AsyncIterator[Worker]:
        config = WorkerConfig(**settings)
        async with Worker(self.app, config, queues=queues, endpoint=self.endpoint) as worker:
            while (await to_thread.run_sync(self.respond, "/ready")).status != 200:
                await anyio.lowlevel.checkpoint()
            yield worker

    async def now(self, query: str = "") -> Scrape:
        answer = await to_thread.run_sync(self.respond, f"/metrics{query}")
        assert answer.status == 200
        assert answer.kind.startswith("text/plain; version=0.0.4")
        return Scrape(answer.body.decode())


@pytest.fixture
def scraped(app) -> Scraped:
    return Scraped(app)


@pytest.fixture(autouse=True)
async def patience():
    with anyio.fail_after(PATIENCE):
        yield


async def test_attempts_are_counted_by_task_and_outcome(app, scraped, clock):
    tries = []

    @app.task(name="well")
    async def well() -> None: ...

    @app.task(name="late", retry_policy=RetryPolicy(max_retries=1, retry_delay=0))
    def late() -> None:
        tries.append(1)
        if len(tries) == 1:
            raise ValueError

    @app.task(name="bad")
    async def bad() -> None:
        raise ValueError

    session = await app.broker_link.session()
    alien = [Publication("default", str(n), b"nonsense") for n in range(2)]
    await session.transport.publish(alien)
    async with scraped.worker():
        handles = [await well.delay() for _ in range(3)] + [await late.delay()]
        await app.gather(handles)
        failed = await bad.delay()
        while not await failed.failed() or await app.broker.get_dlq_count() < 3:
            await anyio.lowlevel.checkpoint()
        found = await scraped.now()

    assert found.tasks("well") == {"succeeded": 3}
    assert found.tasks("late") == {"retried": 1, "succeeded": 1}
    assert found.tasks("bad") == {"dead_lettered": 1}
    assert found.tasks("unknown") == {"dead_lettered": 2}
    assert found("dead_letters_total", task="bad", reason="failed", process="1") == 1
    assert found("dead_letters_total", task="unknown", reason="undecodable", process="1") == 2
    assert found("messages_fetched_total", process="1") == 3 + 2 + 1 + 2
    assert found.families["chicory_tasks"].type == "counter"


async def test_names_that_no_task_has_are_one_series(app, scraped):
    async with scraped.worker():
        for n in range(20):
            await app.broker.publish(TaskMessage(id=str(n), name=f"made-up-{n}"))
        while await app.broker.get_dlq_count() < 20:
            await anyio.lowlevel.checkpoint()
        found = await scraped.now()

    assert found.tasks("unknown") == {"dead_lettered": 20}
    assert len(found.families["chicory_tasks"].samples) == 1


async def test_waits_and_durations_are_histograms(app, scraped, clock):
    @app.task(name="slow", queue="fast")
    async def slow() -> None:
        clock.advance(3)

    first = await slow.delay()
    clock.advance(20)
    async with scraped.worker(queues=["fast"]):
        await first.get()
        found = await scraped.now()

    duration = {"task": "slow", "process": "1"}
    wait = {"queue": "fast", "process": "1"}
    assert found("task_duration_seconds_bucket", le="2.5", **duration) == 0
    assert found("task_duration_seconds_bucket", le="5.0", **duration) == 1
    assert found("task_duration_seconds_bucket", le="+Inf", **duration) == 1
    assert found("task_duration_seconds_sum", **duration) == pytest.approx(3)
    assert found("task_wait_seconds_bucket", le="10.0", **wait) == 0
    assert found("task_wait_seconds_bucket", le="30.0", **wait) == 1
    assert found("task_wait_seconds_sum", **wait) == pytest.approx(20)


async def test_a_delay_that_was_asked_for_and_a_retry_are_no_wait(app, scraped, clock):
    policy = RetryPolicy(max_retries=1, retry_delay=50, jitter=False)

    @app.task(name="late", retry_policy=policy)
    async def late(_: list[int]) -> None:
        tries.append(1)
        if len(tries) == 1:
            raise ValueError

    tries = []
    due = datetime.fromtimestamp(clock.now() + 100, UTC)
    message = TaskMessage(id="1", name="late", args=[[1]], eta=due, enqueued_at=clock.now())
    await app.broker.publish(message)
    async with scraped.worker():
        clock.advance(101)
        while not tries:
            await anyio.lowlevel.checkpoint()
        while (await app.broker.counts(["default"]))["default"].delayed < 1:
            await anyio.lowlevel.checkpoint()
        clock.advance(60)
        await app.result("1").get()
        found = await scraped.now()

    assert found("task_wait_seconds_count", queue="default", process="1") == 1
    assert found("task_wait_seconds_sum", queue="default", process="1") == pytest.approx(1)


async def test_what_runs_and_what_waits_is_measured_when_it_is_asked_for(app, scraped):
    begun, gate = Event(), Event()

    @app.task(name="hold")
    async def hold() -> None:
        begun.set()
        await gate.wait()

    async with scraped.worker(concurrency=1, queues=["default", "other, with a comma"]):
        for _ in range(3):
            await hold.send()
        await begun.wait()
        while await app.broker.get_queue_size() != 2:  # one more may be held for a moment
            await anyio.lowlevel.checkpoint()
        found = await scraped.now()
        gate.set()

    assert found("tasks_active", process="1") == 1
    assert found("concurrency", process="1") == 1
    assert found("broker_up", process="1") == 1
    states = {
        state: found("queue_messages", queue="default", state=state)
        for state in ("ready", "delayed", "leased", "dead")
    }
    assert states == {"ready": 2, "delayed": 0, "leased": 1, "dead": 0}
    assert found("queue_messages", queue="other, with a comma", state="ready") == 0
    assert found("loop_lag_seconds", process="1") is not None


async def test_without_a_broker_the_rest_is_told(scraped, cable):
    async with scraped.worker():
        cable.pull()
        found = await scraped.now()
        cable.mend()

    assert found("broker_up", process="1") == 0
    assert found("concurrency", process="1") is not None
    assert "chicory_queue_messages" not in found.families


async def test_leases_that_are_lost_are_counted_once(app, scraped, monkeypatch):
    async def fenced(self, settlements):
        return [Settled.FENCED] * len(settlements)

    monkeypatch.setattr("chicory.testing.memory.MemoryTransport.settle", fenced)

    @app.task(name="well")
    async def well() -> None: ...

    @app.task(name="once", delivery_mode=DeliveryMode.AT_MOST_ONCE)
    async def once() -> None: ...

    async with scraped.worker() as worker:
        await well.send()
        await once.send()
        while worker._run.tally.leases_lost < 2:
            await anyio.lowlevel.checkpoint()
        found = await scraped.now()

    assert found("leases_lost_total", process="1") == 2


async def test_a_supervisor_tells_processes_apart_and_counts_queues_once(scraped):
    async with scraped.worker():
        found = await scraped.now("?process=3&queues=0")

    assert found("concurrency", process="3") is not None
    assert found("broker_up", process="3") == 1
    assert "chicory_queue_messages" not in found.families


async def test_what_the_program_measures_itself_is_told_as_well(scraped, monkeypatch):
    registry = CollectorRegistry()
    monkeypatch.setattr("chicory.worker.exposition.REGISTRY", registry)
    Counter("mails", "Mails sent.", ["kind"], registry=registry).labels("spam").inc(7)

    async with scraped.worker():
        found = await scraped.now()

    (sample,) = [s for s in found.families["mails"].samples if s.name == "mails_total"]
    assert (sample.labels, sample.value) == ({"kind": "spam", "process": "1"}, 7)


@pytest.mark.parametrize(
    ("theirs", "told"),
    [
        ({"process": "import"}, {"exported_process": "import"}),
        (
            {"exported_process": "a", "process": "b"},
            {"exported_process": "a", "exported_exported_process": "b"},
        ),
    ],
)
async def test_a_label_process_of_the_program_is_kept_under_another_name(monkeypatch, theirs, told):
    registry = CollectorRegistry()
    monkeypatch.setattr("chicory.worker.exposition.REGISTRY", registry)
    Counter("mails", "Mails sent.", list(theirs), registry=registry).labels(**theirs).inc(7)
    stats = WorkerStats(worker_id="w", hostname="h", pid=1, queue="default", concurrency=1)
    readings = Readings(stats, Meter(), 0, 0, 0.0, answers=None, queues={})

    found = Scrape(expose(readings, 1).decode())

    (sample,) = [s for s in found.families["mails"].samples if s.name == "mails_total"]
    assert (sample.labels, sample.value) == ({**told, "process": "1"}, 7)


async def test_where_prometheus_client_is_missing_it_is_said_how_to_get_it(scraped, monkeypatch):
    monkeypatch.setattr("chicory.worker.run.can_measure", lambda: False)

    async with scraped.worker():
        answer = await to_thread.run_sync(scraped.respond, "/metrics")

    assert answer.status == 501
    assert "pip install 'chicory[metrics]'" in json.loads(answer.body)["error"]
