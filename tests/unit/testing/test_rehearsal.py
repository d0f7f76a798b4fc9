"""One attempt in place, as a worker would make it."""

from __future__ import annotations

import threading
from typing import Literal

import pytest
from anyio import sleep_forever

from chicory import (
    Chicory,
    ChicoryConfig,
    DeliveryMode,
    RetryPolicy,
    TaskContext,
    TaskError,
    TaskMessage,
    TaskState,
    ValidationError,
    current,
)
from chicory.errors import RetryError
from chicory.outcome import Bury, Fail, Postpone, RetryIn, Succeed
from chicory.testing import Lab, Rehearsal


@pytest.fixture
def app():
    return Chicory("memory://")


async def test_arguments_and_results_travel_as_for_real(app):
    @app.task(name="pair")
    async def pair(items: tuple[int, ...]) -> tuple[int, ...]:
        assert type(items) is tuple
        return [*items]  # pyright: ignore[reportReturnType]

    assert await Rehearsal(pair).run((1, 2)) == (1, 2)
    with pytest.raises(ValidationError, match="argument 'items"):
        await Rehearsal(pair).run(("x",))


async def test_the_context_is_the_one_asked_for(app):
    @app.task(name="ask", queue="mail", timeout=5, headers={"a": "b"})
    async def ask(ctx: TaskContext) -> str:
        assert ctx is current()
        assert (ctx.retries, ctx.queue, ctx.worker_id, ctx.task_id) == (2, "mail", "w", "id")
        assert ctx.deadline is not None
        assert (ctx.deadline - ctx.started_at).total_seconds() == 5
        ctx.progress(1, 2)
        return str(dict(ctx.headers))

    rehearsal = Rehearsal(ask, retries=2, worker_id="w", task_id="id", headers={"c": "d"})

    assert await rehearsal.run() == "{'a': 'b', 'c': 'd'}"
    assert [report.fraction for report in rehearsal.progress] == [0.5]
    with pytest.raises(RuntimeError):
        current()


async def test_a_plain_function_runs_in_a_thread(app):
    @app.task(name="where")
    def where() -> tuple[bool, str]:
        return threading.current_thread() is threading.main_thread(), current().task_name

    assert await Rehearsal(where).run() == (False, "where")


async def test_what_the_task_raises_comes_out(app):
    @app.task(name="again", retry_policy=RetryPolicy())
    async def again(ctx: TaskContext) -> None:
        ctx.retry(countdown=5)

    with pytest.raises(RetryError):
        await Rehearsal(again).run()


@pytest.mark.parametrize(
    ("wish", "retries", "kind"),
    [("ok", 0, Succeed), ("no", 0, RetryIn), ("no", 3, Bury), ("later", 3, Postpone)],
)
async def test_the_verdict_is_a_worker_s(app, wish, retries, kind):
    @app.task(name="wish", retry_policy=RetryPolicy(max_retries=3))
    async def grant(ctx: TaskContext, wish: str) -> None:
        if wish == "no":
            raise ValueError(wish)
        if wish == "later":
            ctx.snooze(5)

    assert isinstance(await Rehearsal(grant, retries=retries).verdict(wish), kind)


@pytest.fixture
def alike(app):
    """Tasks that end as they are told: one runs at least once, and one at most once."""

    def grant(way: Literal["fail", "leave", "unsendable"]) -> object:
        if way == "leave":
            raise SystemExit(1)
        if way == "fail":
            raise ValueError(way)
        return object()

    policy = RetryPolicy(ignore_on=[ValueError], retry_on=lambda error: 1 / 0 > 1)
    return [
        app.task(name=mode, delivery_mode=mode, retry_policy=policy)(grant) for mode in DeliveryMode
    ]


@pytest.mark.parametrize("way", ["fail", "leave", "unsendable", "misfit"])
async def test_what_ends_a_call_for_good_does_so_in_the_words_of_a_worker(app, alike, way):
    for task in alike:
        verdict = await Rehearsal(task).verdict(way)
        with Lab(app) as lab:
            await app.broker.publish(TaskMessage(id="id", name=task.name, args=[way]))
            await lab.drain()
            state = await app.result("id").state()
            letters = await app.broker.get_dlq_messages()

        if state is TaskState.FAILURE:
            assert isinstance(verdict, Fail)
            assert letters == []
        else:
            assert isinstance(verdict, Bury)
            said = [(letter.reason, letter.error) for letter in letters]
            assert said == [(verdict.reason, verdict.failure.message)]


@pytest.fixture
def gush():
    """A task whose result has so many bytes, of an app that stores only small ones."""

    def make(*, ignore_result: bool = False, mode: DeliveryMode = DeliveryMode.AT_LEAST_ONCE):
        app = Chicory("memory://", config=ChicoryConfig(max_message_size=400))

        @app.task(name="gush", ignore_result=ignore_result, delivery_mode=mode)
        def gush(size: int) -> str:
            return "x" * size

        return app, gush

    return make


@pytest.mark.parametrize("mode", DeliveryMode)
async def test_a_result_that_is_too_large_to_be_stored_ends_as_in_a_worker(gush, mode):
    app, task = gush(mode=mode)
    with Lab(app) as lab:
        handle = await task.delay(401)
        await lab.drain()
        with pytest.raises(TaskError, match=r"its result has .* the limit is 400") as caught:
            await handle.get()
        state = await handle.state()

    verdict = await Rehearsal(task).verdict(401)
    assert isinstance(verdict, Fail if state is TaskState.FAILURE else Bury)
    assert verdict.failure.type_name == caught.value.type_name
    assert verdict.failure.message.endswith("the limit is 400")
    with pytest.raises(ValidationError, match=r"its result has .* the limit is 400"):
        await Rehearsal(task).run(401)


async def test_a_result_that_is_not_stored_may_be_of_any_size(gush):
    _, task = gush(ignore_result=True)

    assert isinstance(await Rehearsal(task).verdict(401), Succeed)
    assert len(await Rehearsal(task).run(401)) == 401


async def test_a_task_that_returns_too_late_has_ended_as_in_a_worker(app):
    @app.task(name="blocking", timeout=0.01)
    async def blocking() -> str:
        threading.Event().wait(0.03)
        return "late"

    with Lab(app) as lab:
        handle = await blocking.delay()
        await lab.drain()
        with pytest.raises(TaskError, match="longer than its limit") as caught:
            await handle.get()

    verdict = await Rehearsal(blocking).verdict()
    assert isinstance(verdict, Bury)
    assert verdict.failure.type_name == caught.value.type_name == "TimeoutError"


@pytest.mark.parametrize("executor", ["async", "thread"])
async def test_a_task_whose_time_is_up_has_ended_as_in_a_worker(app, executor):
    over = threading.Event()

    def wait_in_a_thread(ctx: TaskContext) -> None:
        over.wait()

    async def wait_on_the_loop(ctx: TaskContext) -> None:
        await sleep_forever()

    function = wait_in_a_thread if executor == "thread" else wait_on_the_loop
    task = app.task(name="slow", timeout=0.01, retry_policy=RetryPolicy())(function)
    rehearsal = Rehearsal(task)
    try:
        with pytest.raises(TimeoutError, match="longer than its limit"):
            await rehearsal.run()
        assert rehearsal.context.cancelled
        verdict = await rehearsal.verdict()
    finally:
        over.set()

    assert isinstance(verdict, RetryIn)
    assert verdict.failure.type_name == "TimeoutError"


@pytest.mark.parametrize("error", [GeneratorExit, StopIteration])
async def test_what_ends_a_generator_is_an_error_like_others_in_a_thread(app, error):
    @app.task(name="leave")
    def leave() -> None:
        raise error("so")

    verdict = await Rehearsal(leave).verdict()

    assert isinstance(verdict, Bury)
    assert (verdict.failure.type_name, verdict.failure.message) == (error.__name__, "so")


async def test_an_argument_that_cannot_be_sent_is_the_caller_s_error(app):
    @app.task(name="take", retry_policy=RetryPolicy())
    async def take(what: object) -> None: ...

    with pytest.raises(ValidationError, match="argument 'what'"):
        await Rehearsal(take).verdict(object())


@pytest.fixture
def odd(app):
    @app.task(name="odd")
    def odd(self: int, function: int, shown: int) -> int:
        return self + function + shown

    return odd


async def test_an_argument_may_have_the_name_of_one_of_ours(odd):
    assert await Rehearsal(odd).run(self=1, function=2, shown=3) == 6
    assert isinstance(await Rehearsal(odd).verdict(self=1, function=2, shown=3), Succeed)


def test_it_may_do_so_without_an_event_loop(odd):
    assert Rehearsal(odd).run_sync(self=1, function=2, shown=3) == 6
