"""What a task knows of its own call, wherever it asks, and what it reports."""

from __future__ import annotations

import threading
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction

import anyio
import anyio.lowlevel
import pytest

from chicory import (
    Chicory,
    Progress,
    RetryPolicy,
    TaskContext,
    TaskError,
    TaskState,
    current,
    progress,
)
from chicory.context import SnoozeTask
from chicory.errors import QueueFullError
from chicory.message import TaskMessage
from chicory.outcome import Postpone, Raised, Terms, decide
from chicory.progress import decode, encode, key
from chicory.testing.clock import START

AT_ONCE = RetryPolicy(max_retries=2, retry_delay=0)


def seen(ctx: TaskContext) -> tuple[object, ...]:
    return (ctx.task_id, ctx.task_name, ctx.queue, ctx.attempts, dict(ctx.headers))


@pytest.mark.parametrize("kind", ["async", "thread"])
async def test_code_deeper_down_sees_the_context(app, working, kind):
    found = []

    def deeper() -> None:
        found.append((seen(current()), current() is current()))

    if kind == "async":

        @app.task(name="ask", headers={"a": "b"}, retry_policy=AT_ONCE)
        async def ask() -> None:
            deeper()
            if current().retries == 0:
                raise ValueError
    else:

        @app.task(name="ask", headers={"a": "b"}, retry_policy=AT_ONCE)
        def ask() -> None:
            deeper()
            if current().retries == 0:
                raise ValueError

    async with working() as worker:
        handle = await ask.delay()
        await handle.get()
        assert worker.worker_id

    call = (handle.task_id, "ask", "default")
    assert found == [((*call, 1, {"a": "b"}), True), ((*call, 2, {"a": "b"}), True)]


async def test_the_context_given_and_the_one_asked_for_are_the_same(app, working):
    @app.task(name="ask")
    async def ask(ctx: TaskContext) -> bool:
        return ctx is current()

    async with working():
        assert await (await ask.delay()).get()


async def test_calls_that_run_together_see_their_own(app, working):
    both = anyio.Event()
    running = []

    @app.task(name="ask")
    async def ask() -> str:
        running.append(current().task_id)
        if len(running) == 2:
            both.set()
        await both.wait()
        return current().task_id

    async with working(concurrency=2):
        handles = [await ask.delay(), await ask.delay()]
        assert await app.gather(handles) == [handle.task_id for handle in handles]


async def test_outside_of_a_task_it_is_an_error():
    with pytest.raises(RuntimeError, match=r"chicory.current\(\): no task runs here"):
        current()


async def test_a_slot_is_left_clean(app, working):
    @app.task(name="ask")
    async def ask() -> None:
        current()

    async with working(concurrency=1):
        await (await ask.delay()).get()
        with pytest.raises(RuntimeError):
            current()


async def test_the_times_of_a_call(app, working, clock):
    @app.task(name="ask", timeout=30)
    async def ask(ctx: TaskContext) -> tuple[datetime | None, datetime, datetime | None, str]:
        return ctx.enqueued_at, ctx.started_at, ctx.deadline, ctx.worker_id

    @app.task(name="unlimited")
    async def unlimited(ctx: TaskContext) -> bool:
        return ctx.deadline is None and ctx.enqueued_at is None

    handle = await ask.delay()
    clock.advance(5)
    async with working() as worker:
        times = await handle.get()
        await app.broker.publish(TaskMessage(id="by hand", name="unlimited"))
        assert await app.result("by hand").get()

    enqueued, started, deadline = (
        datetime.fromtimestamp(START + seconds, UTC) for seconds in (0, 5, 35)
    )
    assert times == (enqueued, started, deadline, worker.worker_id)


# -- snooze ---------------------------------------------------------------------------------


@pytest.mark.parametrize("retries", [0, 2, 9])
def test_a_snooze_is_no_attempt(retries):
    terms = Terms(retries, AT_ONCE)

    assert decide(Raised(SnoozeTask(5)), terms) == Postpone(5)


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf"), 1e10])
def test_a_snooze_beyond_reason_is_refused(seconds):
    with pytest.raises(ValueError, match="seconds must be 0 to 1000000000 seconds"):
        TaskContext("id", "t").snooze(seconds)


async def test_a_snoozing_call_waits_in_the_broker_and_has_all_its_attempts(
    app, working, clock, log
):
    @app.task(name="nap", retry_policy=AT_ONCE)
    async def nap(ctx: TaskContext) -> int:
        if clock.now() < START + 100:
            ctx.snooze(100)
        return ctx.attempts

    async with working() as worker:
        handle = await nap.delay()
        await log.heard("snoozes for 100 s")
        while (await app.broker.counts(["default"]))["default"].delayed == 0:
            await anyio.lowlevel.checkpoint()
        assert await handle.state() is TaskState.PENDING
        clock.advance(100)
        assert await handle.get() == 1

    assert worker.get_stats().tasks_failed == 0
    assert await app.broker.get_dlq_count() == 0


async def test_a_call_that_runs_at_most_once_may_snooze(app, working):
    runs = []

    @app.task(name="nap", delivery_mode="at_most_once")
    async def nap(ctx: TaskContext) -> int:
        runs.append(ctx.attempts)
        if len(runs) == 1:
            ctx.snooze(0)
        return ctx.attempts

    async with working():
        assert await (await nap.delay()).get() == 1
    assert runs == [1, 1]


# -- progress -------------------------------------------------------------------------------


async def reported(handle, **wanted) -> Progress:
    """The report, once it has these values."""
    while True:
        found = await handle.progress()
        if found and all(getattr(found, name) == value for name, value in wanted.items()):
            return found


@pytest.mark.parametrize("kind", ["async", "thread"])
async def test_progress_is_read_from_the_handle_while_the_call_runs(app, working, clock, kind):
    seen = threading.Event()
    read = anyio.Event()

    if kind == "async":

        @app.task(name="work")
        async def work(ctx: TaskContext) -> None:
            ctx.progress(1, 4, "first")
            ctx.progress(2, 4, "half")
            await read.wait()
    else:

        @app.task(name="work")
        def work(ctx: TaskContext) -> None:
            ctx.progress(2, 4, "half")
            seen.wait()

    async with working():
        handle = await work.delay()
        assert await handle.progress() is None or kind == "thread"
        report = await reported(handle, done=2)
        assert await handle.state() is TaskState.STARTED
        read.set()
        seen.set()
        await handle.get()

    assert report == Progress(2, 4, "half", at=clock.now(), retries=0)
    assert report.fraction == 0.5


async def test_the_last_report_is_stored_before_the_worker_ends(app, working):
    @app.task(name="work")
    async def work(ctx: TaskContext) -> None:
        for done in range(1001):
            ctx.progress(done, 1000)

    async with working():
        handle = await work.delay()
        await handle.get()

    assert (await handle.progress()).done == 1000


@pytest.mark.parametrize("ends", [True, False])
async def test_who_has_the_result_has_the_last_report(app, working, cable, ends):
    gate = anyio.Event()

    @app.task(name="work")
    async def work(ctx: TaskContext) -> None:
        ctx.progress(1, 3)
        await gate.wait()
        ctx.progress(2, 3)
        if ends:
            ctx.progress(3, 3)
            return
        ctx.progress(3, 3)
        raise ValueError

    cable.stuck.add("store")
    async with working():
        handle = await work.delay()
        await cable.called("store", 1)
        gate.set()
        for _ in range(100):
            await anyio.lowlevel.checkpoint()
        assert cable.calls["settle"] == 0
        cable.mend()
        with suppress(TaskError):
            await handle.get()
        report = await handle.progress()

    assert (report.done, report.total) == (3, 3)


async def test_an_outcome_does_not_wait_for_a_report_that_cannot_be_stored(app, working, cable):
    @app.task(name="work")
    async def work(ctx: TaskContext) -> str:
        ctx.progress(1)
        return "done"

    cable.refused["store"] = QueueFullError("full")
    async with working():
        assert await (await work.delay()).get() == "done"


async def test_a_report_is_no_result_and_outlives_none(app, working, clock):
    @app.task(name="work")
    async def work(ctx: TaskContext) -> str:
        ctx.progress(1)
        return "done"

    async with working():
        handle = await work.delay()
        assert await handle.get() == "done"
        await reported(handle, done=1)
    assert await handle.get() == "done"
    clock.advance(app.config.backend.result_ttl + 1)
    assert await handle.progress() is None


async def test_where_no_results_are_stored_no_progress_is(url, clock, working):
    app = Chicory(url, backend=None, clock=clock)
    done = anyio.Event()

    @app.task(name="work")
    async def work(ctx: TaskContext) -> None:
        ctx.progress(1)
        done.set()

    async with working(on=app):
        await work.send()
        await done.wait()
    await app.disconnect()


@pytest.mark.parametrize("amounts", [(-1,), (1, -1), (float("nan"),), (float("inf"),)])
def test_an_amount_that_is_none_is_refused(amounts):
    with pytest.raises(ValueError, match=r"progress\((done|total)=.*\): must be a number"):
        TaskContext("id", "t").progress(*amounts)


class Unruly:
    def __lt__(self, other):
        raise KeyError(other)

    __ge__ = __lt__


@pytest.mark.parametrize(
    "amount",
    ["1", pytest.param(10**400, id="endless"), Decimal("1e400"), Decimal("sNaN"), 1j, Unruly()],
)
def test_what_is_no_amount_is_refused_where_it_is_reported(amount):
    with pytest.raises(ValueError, match=r"progress\(total=.*\): must be a number"):
        TaskContext("id", "t").progress(1, amount)


@pytest.mark.parametrize("note", [b"half", None, ["half"]])
def test_a_note_that_is_no_text_is_refused_where_it_is_reported(note):
    with pytest.raises(ValueError, match=r"progress\(note=.*\): must be text"):
        TaskContext("id", "t").progress(1, note=note)


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ((Fraction(1, 2), Decimal(4)), Progress(0.5, 4.0)),
        ((2**64, 2**70), Progress(2.0**64, 2.0**70)),
        ((1, None, "file \ud800"), Progress(1, None, "file \\ud800")),
        ((1, None, "\ud800" * 999), Progress(1, None, "\\ud800" * 166 + "\\ud8")),
    ],
)
def test_every_report_can_be_stored(given, stored):
    reports = []
    TaskContext("id", "t", reports=reports.append).progress(*given)

    assert decode(encode(reports[0])) == stored


async def test_a_report_that_cannot_be_stored_takes_nothing_with_it(
    app, working, cable, monkeypatch, log
):
    both = anyio.Event()

    def refuse(report: Progress) -> bytes:
        if report.note == "bad":
            raise TypeError("cannot be sent")
        return encode(report)

    @app.task(name="work")
    async def work(ctx: TaskContext, note: str) -> None:
        ctx.progress(1, note=note)
        await both.wait()

    monkeypatch.setattr(progress, "encode", refuse)
    cable.stuck.add("store")
    async with working():
        handles = [await work.delay(note) for note in ("first", "bad", "good")]
        await cable.called("store", 1)
        cable.mend()
        good = await reported(handles[2], done=1)
        both.set()
        for handle in handles:
            await handle.get()
        bad = await handles[1].progress()

    assert (good.note, bad) == ("good", None)
    assert log.count("its progress cannot be stored") == 1


def test_reports_have_an_identity_that_every_transport_can_store():
    assert len(key("a" * 255)) <= 255
    assert key("a" * 255) != key("b" * 255)
    assert key("a") != key("b")


@pytest.mark.parametrize(
    ("report", "fraction"),
    [(Progress(1), None), (Progress(1, 4), 0.25), (Progress(5, 4), 1.0), (Progress(0, 0), 1.0)],
)
def test_a_fraction_is_between_nothing_and_all(report, fraction):
    assert report.fraction == fraction
