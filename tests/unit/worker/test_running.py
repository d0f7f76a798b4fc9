"""What a worker does with tasks that behave, and that do not."""

from __future__ import annotations

import contextvars
import gc
import threading
from dataclasses import dataclass

import anyio
import pytest
from anyio import Event, from_thread, to_thread

from chicory import DeliveryMode, RetryError, RetryPolicy, TaskError, TaskState
from chicory.context import TaskContext
from chicory.worker import performance
from chicory.worker.attempt import Attempt
from chicory.worker.slots import Slots

note: contextvars.ContextVar[str] = contextvars.ContextVar("note", default="clean")


@dataclass
class Point:
    x: int
    y: int


class UnspeakableError(Exception):
    def __str__(self):
        raise SystemExit("no text")


class Odd:
    """Two of it cannot be compared."""

    def __eq__(self, other):
        raise ValueError("neither equal nor not")

    def __hash__(self):
        return 1


async def test_async_and_sync_tasks_give_back_typed_values(app, working):
    @app.task(name="turn")
    async def turn(point: Point) -> Point:
        return Point(point.y, point.x)

    @app.task(name="double")
    def double(number: int) -> int:
        return 2 * number

    async with working():
        turned = await (await turn.delay(Point(1, 2))).get()
        doubled = await (await double.delay(21)).get()

    assert turned == Point(2, 1)
    assert doubled == 42


def no_threads_for(monkeypatch, calls: int) -> None:
    """Have so many calls find that no thread can be started."""
    start, left = to_thread.run_sync, iter(range(calls))

    async def exhausted(function, *arguments, **options):
        if function is performance.outcome_of and next(left, None) is not None:
            raise RuntimeError("can't start new thread")
        return await start(function, *arguments, **options)

    monkeypatch.setattr(to_thread, "run_sync", exhausted)


async def test_a_call_for_which_there_is_no_thread_comes_again(
    app, working, monkeypatch, clock, log
):
    @app.task(name="sync")
    def sync() -> str:
        return "run"

    no_threads_for(monkeypatch, 2)
    async with working() as worker:
        handle = await sync.delay()
        for times in (1, 2):
            await log.heard("can't start new thread: it is given back", times)
            while not (await app.broker.counts(["default"]))["default"].delayed:
                await anyio.lowlevel.checkpoint()
            clock.advance(1)
        value = await handle.get()
        failed = worker.get_stats().tasks_failed

    assert value == "run"
    assert failed == 0


async def test_a_call_at_most_once_for_which_there_is_no_thread_has_failed(
    app, working, monkeypatch
):
    @app.task(name="sync", delivery_mode=DeliveryMode.AT_MOST_ONCE)
    def sync() -> None: ...

    no_threads_for(monkeypatch, 1)
    async with working():
        with pytest.raises(TaskError, match="can't start new thread"):
            await (await sync.delay()).get()


async def test_sync_tasks_run_in_threads_and_can_call_back_into_the_event_loop(app, working):
    @app.task(name="outer")
    def outer() -> tuple[str, int]:
        handle = from_thread.run(inner.delay)
        return threading.current_thread().name, from_thread.run(handle.get)

    @app.task(name="inner")
    async def inner() -> int:
        return threading.get_ident()

    async with working():
        thread, loop_thread = await (await outer.delay()).get()

    assert thread != threading.current_thread().name
    assert loop_thread == threading.get_ident()


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_as_many_tasks_run_at_once_as_are_allowed_and_never_more(app, working, kind):
    full, gate, lock = Event(), threading.Event(), threading.Lock()
    running, most = 0, 0

    def enter() -> bool:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
            return running == 3

    def leave() -> None:
        nonlocal running
        with lock:
            running -= 1

    open_gate = Event()

    async def wait() -> None:
        if enter():
            full.set()
        await open_gate.wait()
        leave()

    def block() -> None:
        if enter():
            from_thread.run_sync(full.set)
        gate.wait(20)
        leave()

    task = app.task(name="occupy")(wait if kind == "async" else block)

    async with working(concurrency=3) as worker:
        handles = [await task.delay() for _ in range(9)]
        await full.wait()
        active = worker.get_stats().active_tasks
        gate.set()
        open_gate.set()
        await app.gather(handles)

    assert active == 3
    assert most == 3


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_no_call_sees_context_variables_that_another_one_set(app, working, kind):
    async def write() -> str:
        before = note.get()
        note.set("written")
        return before

    def write_in_thread() -> str:
        before = note.get()
        note.set("written")
        return before

    task = app.task(name="write")(write if kind == "async" else write_in_thread)

    async with working(concurrency=1):
        seen = await app.gather([await task.delay() for _ in range(5)])

    assert seen == ["clean"] * 5
    assert note.get() == "clean"


async def test_calls_see_the_context_in_which_the_worker_was_started(app, working):
    @app.task(name="read")
    async def read() -> str:
        return note.get()

    token = note.set("of the starter")
    try:
        async with working():
            seen = await (await read.delay()).get()
    finally:
        note.reset(token)

    assert seen == "of the starter"


async def test_a_context_variable_whose_values_cannot_be_compared_does_no_harm(app, working):
    odd: contextvars.ContextVar[Odd] = contextvars.ContextVar("odd")

    @app.task(name="set")
    async def put() -> int:
        odd.set(Odd())
        return 1

    token = odd.set(Odd())
    try:
        async with working(concurrency=1):
            values = await app.gather([await put.delay() for _ in range(3)])
    finally:
        odd.reset(token)

    assert values == [1, 1, 1]


async def test_tasks_that_leave_the_context_clean_share_one_slot(app, working, monkeypatch):
    born, make = [], Slots._slot

    def counted(self):
        born.append(self)
        return make(self)

    monkeypatch.setattr(Slots, "_slot", counted)

    @app.task(name="a")
    async def quiet() -> None: ...

    @app.task(name="b")
    def quiet_in_thread() -> None: ...

    async with working(concurrency=1):
        for task in (quiet, quiet_in_thread) * 3:
            await (await task.delay()).get()

    assert len(born) == 1


async def raise_it(kind: str) -> None:
    errors = {
        "exception": ValueError("bad"),
        "base": BaseException("bad"),
        "exit": SystemExit(3),
        "interrupt": KeyboardInterrupt("bad"),
        "generator": GeneratorExit("bad"),
        "stop": StopIteration("bad"),
        "stop-async": StopAsyncIteration("bad"),
        "group": ExceptionGroup("many", [ValueError("bad"), KeyError("bad")]),
        "base-group": BaseExceptionGroup("many", [KeyboardInterrupt("bad")]),
        "unspeakable": UnspeakableError(),
    }
    raise errors[kind]


KINDS = {
    "exception": "ValueError",
    "base": "BaseException",
    "exit": "SystemExit",
    "interrupt": "KeyboardInterrupt",
    "generator": "GeneratorExit",
    "stop-async": "StopAsyncIteration",
    "group": "ExceptionGroup",
    "base-group": "BaseExceptionGroup",
}


@pytest.mark.parametrize("in_thread", [False, True])
@pytest.mark.parametrize("kind", [*KINDS, "stop", "unspeakable"])
async def test_no_exception_of_a_task_ends_the_worker(app, working, kind, in_thread):
    def raise_in_thread(kind: str) -> None:
        coroutine = raise_it(kind)
        try:
            coroutine.send(None)
        except RuntimeError as error:
            raise error.__cause__ or error from None

    failing = app.task(name="fail")(raise_in_thread if in_thread else raise_it)

    @app.task(name="next")
    async def following() -> str:
        return "alive"

    async with working(concurrency=1) as worker:
        failed = await failing.delay(kind)
        with pytest.raises(TaskError) as caught:
            await failed.get()
        alive = await (await following.delay()).get()
        state = await failed.state()

    assert alive == "alive"
    assert state is TaskState.DEAD_LETTERED
    assert KINDS.get(kind, "") in caught.value.type_name
    assert worker.get_stats().tasks_failed == 1


async def test_an_error_arrives_with_its_type_its_text_and_its_traceback(app, working):
    @app.task(name="fail")
    async def fail() -> None:
        raise LookupError("the shelf is empty")

    async with working():
        with pytest.raises(TaskError, match="the shelf is empty") as caught:
            await (await fail.delay()).get()

    assert caught.value.type_name == "LookupError"
    assert 'raise LookupError("the shelf is empty")' in caught.value.remote_traceback


async def test_a_very_long_error_text_is_cut_and_the_call_still_retried(app, working, clock):
    @app.task(name="fail", retry_policy=RetryPolicy(max_retries=1, retry_delay=0))
    async def fail(ctx: TaskContext) -> int:
        if ctx.retries == 0:
            raise ValueError("x" * 5_000_000)
        return ctx.retries

    async with working():
        retries = await (await fail.delay()).get()

    assert retries == 1


async def test_what_a_task_raises_that_the_policy_cannot_handle_ends_only_that_task(
    app, working, log
):
    @app.task(name="odd", retry_policy=RetryPolicy())
    async def odd() -> None:
        raise RetryError(countdown="soon")  # pyright: ignore[reportArgumentType]

    @app.task(name="next")
    async def following() -> str:
        return "alive"

    async with working(concurrency=1):
        handle = await odd.delay()
        with pytest.raises(TaskError):
            await handle.get()
        alive = await (await following.delay()).get()
        letters = await app.broker.get_dlq_messages()

    assert alive == "alive"
    assert [letter.message_id for letter in letters] == [handle.task_id]
    assert log.count("what it came to cannot be told") == 1


async def test_the_event_loop_goes_on_while_tasks_never_yield(app, working):
    turns, finished = 0, Event()
    left = 3000

    @app.task(name="busy")
    async def busy() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            finished.set()

    async def turn() -> None:
        nonlocal turns
        while not finished.is_set():
            turns += 1
            await anyio.lowlevel.checkpoint()

    for _ in range(3000):
        await busy.send()
    async with working(concurrency=32), anyio.create_task_group() as group:
        group.start_soon(turn)
        await finished.wait()

    assert turns > 3


async def test_ignored_results_are_stored_neither_for_success_nor_failure(app, working):
    ended = Event()

    @app.task(name="quiet", ignore_result=True)
    async def quiet(bad: bool) -> None:
        if bad:
            ended.set()
            raise ValueError

    async with working(concurrency=1) as worker:
        ids = [await quiet.send(bad=False), await quiet.send(bad=True)]
        await ended.wait()
        await worker.stop()

    assert [await app.backend.get_result(task_id) for task_id in ids] == [None, None]


async def test_a_record_tells_who_ran_it_and_when(app, working, clock):
    @app.task(name="tell")
    async def tell() -> int:
        clock.advance(3)
        return 5

    began = clock.now()
    async with working() as worker:
        handle = await tell.delay()
        await handle.get()
        stored = await app.backend.get_result(handle.task_id)

    assert stored is not None
    assert (stored.name, stored.result, stored.retries) == ("tell", 5, 0)
    assert (stored.started_at, stored.finished_at) == (began, began + 3)
    assert stored.worker_id == worker.worker_id


def alive(kind: type) -> list[object]:
    gc.collect()
    return [each for each in gc.get_objects() if isinstance(each, kind)]


async def test_a_worker_keeps_nothing_of_what_is_settled(app, working):
    @app.task(name="large")
    async def large(text: str) -> int:
        return len(text)

    @app.task(name="fail")
    async def fail() -> None:
        raise ValueError

    before = alive(Attempt)  # a thread that another test left behind may hold one
    async with working(concurrency=4) as worker:
        for _ in range(20):
            calls = [await large.delay("x" * 1000), await fail.delay()]
            async for _ in app.as_completed(calls):
                pass
        await anyio.wait_all_tasks_blocked()
        shift = worker._run.shift
        assert shift is not None
        attempts = [each for each in alive(Attempt) if each not in before]
        held, backlog = dict(shift.held), shift.bench.unsettled

    assert held == {}
    assert backlog == 0
    assert attempts == []


async def test_a_call_that_has_expired_is_not_run(app, working, clock):
    @app.task(name="late", expires=10)
    async def late() -> None:
        raise AssertionError("it was run")

    handle = await late.delay()
    clock.advance(10.5)
    async with working():
        with pytest.raises(TaskError, match="expired"):
            await handle.get()

    assert await handle.state() is TaskState.FAILURE


async def test_a_call_that_is_not_yet_expired_is_run(app, working, clock):
    @app.task(name="late", expires=10)
    async def late() -> str:
        return "run"

    handle = await late.delay()
    clock.advance(10)
    async with working():
        value = await handle.get()

    assert value == "run"
