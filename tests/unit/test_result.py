import math
import re
from datetime import timedelta
from functools import partial

import anyio
import pytest
from anyio import create_task_group, fail_after, to_thread, wait_all_tasks_blocked
from anyio.lowlevel import checkpoint
from msgspec import Struct
from named import by_repr

from chicory import AsyncResult, Chicory, ChicoryConfig, record
from chicory.errors import (
    BackendNotConfiguredError,
    BrokerConnectionError,
    TaskCancelledError,
    TaskError,
    ValidationError,
)
from chicory.record import TaskResult
from chicory.result import AT_ONCE
from chicory.states import TaskState
from chicory.transport import Record


class Point(Struct):
    x: int


@pytest.fixture
async def point(app):
    @app.task(name="point")
    def point(x: int) -> Point:
        return Point(x)

    async with app:
        yield point


async def finish(app, task_id, value=None, state=TaskState.SUCCESS, **rest):
    await app.backend.store_result(
        task_id, TaskResult(task_id=task_id, state=state, result=value, **rest)
    )


async def watched(app):
    return (await app.backend_link.session()).results._callbacks


# -- one handle ---------------------------------------------------------------------------


async def test_a_value_comes_back_in_its_annotated_type(app, point):
    result = await point.delay(3)
    await finish(app, result.task_id, Point(3), name="point")

    assert await result.get(timeout=10) == Point(3)
    assert await app.result(result.task_id).get(timeout=10) == Point(3)
    assert (await result.state(), await result.ready(), await result.failed()) == (
        TaskState.SUCCESS,
        True,
        False,
    )


async def test_a_value_of_an_unknown_task_comes_back_as_plain_data(app):
    await finish(app, "a", Point(3), name="elsewhere")

    assert await app.result("a").get(timeout=10) == {"x": 3}


async def test_a_value_that_does_not_fit_the_annotation_is_refused(app, point):
    result = await point.delay(3)
    await finish(app, result.task_id, "no point")

    with pytest.raises(ValidationError, match=r"^point: return value: Expected `object`"):
        await result.get(timeout=10)


async def test_a_failure_is_raised_with_what_happened_elsewhere(app, point):
    result = await point.delay(3)
    await finish(
        app,
        result.task_id,
        state=TaskState.FAILURE,
        error="no",
        error_type="pkg.OddError",
        traceback="Traceback ...",
    )

    with pytest.raises(TaskError, match=r"^pkg\.OddError: no \(task ") as caught:
        await result.get(timeout=10)

    assert caught.value.remote_traceback == "Traceback ..."
    assert await result.failed()


async def test_a_cancelled_call_is_raised_as_such(app, point):
    result = await point.delay(3)
    await finish(app, result.task_id, state=TaskState.CANCELLED)

    with pytest.raises(TaskCancelledError):
        await result.get(timeout=10)


async def test_a_call_under_way_is_neither_ready_nor_failed(point):
    result = await point.delay(3)

    assert not await result.ready()
    assert not await result.failed()
    with pytest.raises(TimeoutError, match=rf"{result.task_id} within 0\.001 s"):
        await result.get(timeout=0.001)


async def test_the_app_s_default_timeout_holds_where_none_is_given(clock):
    app = Chicory("memory://", config=ChicoryConfig(result_default_timeout=0.001), clock=clock)

    with pytest.raises(TimeoutError, match=r"within 0\.001 s"):
        await app.result("a").get()
    with fail_after(60):
        async with create_task_group() as tasks:
            tasks.start_soon(app.result("a").get, None)
            await wait_all_tasks_blocked()
            await finish(app, "a")


async def test_without_a_backend_there_is_no_result(clock):
    app = Chicory("memory://", backend=None, clock=clock)

    @app.task(name="t")
    async def t() -> int:
        return 1

    for result in (await t.delay(), app.result("a")):
        for ask in (result.get, result.state, result.ready, result.failed):
            with pytest.raises(BackendNotConfiguredError, match=r"without backend=None"):
                await ask()
    with pytest.raises(BackendNotConfiguredError):
        await app.gather([await t.delay()])


async def test_a_task_that_ignores_its_result_says_so(app):
    @app.task(name="t", ignore_result=True)
    async def t() -> int:
        return 1

    result = await t.delay()

    with pytest.raises(BackendNotConfiguredError, match=r"task t stores no results: .*ignore_re"):
        await result.get()
    with pytest.raises(BackendNotConfiguredError, match=r"task t"):
        async for _ in app.as_completed([result]):
            pass


# -- as completed -------------------------------------------------------------------------


async def test_handles_are_given_in_the_order_in_which_their_calls_end(app):
    handles = [app.result(name) for name in "abcd"]
    await finish(app, "c")
    order = []

    async def iterate():
        async for handle in app.as_completed(handles):
            order.append(handle)  # noqa: PERF401

    with fail_after(60):
        async with create_task_group() as tasks:
            tasks.start_soon(iterate)
            for name, state in [("d", "FAILURE"), ("a", "SUCCESS"), ("b", "CANCELLED")]:
                await wait_all_tasks_blocked()
                await finish(app, name, state=TaskState(state))

    assert order == [handles[2], handles[3], handles[0], handles[1]]
    assert await watched(app) == {}


async def test_thousands_of_results_that_are_there_let_others_run(app):
    handles = [app.result(str(number)) for number in range(20 * AT_ONCE)]
    for handle in handles:
        await finish(app, handle.task_id)
    turns = 0

    async def take_turns():
        nonlocal turns
        while True:
            turns += 1
            await checkpoint()

    completed = app.as_completed(handles)
    with fail_after(60):
        async with create_task_group() as tasks:
            tasks.start_soon(take_turns)
            await anext(completed)
            while len(completed._finished) < len(handles) - 1:
                await checkpoint()
            before = turns
            rest = [handle async for handle in completed]
            tasks.cancel_scope.cancel()

    assert len(rest) == len(handles) - 1
    assert turns - before >= 19


async def test_one_handle_given_twice_is_one_call(app):
    handle = app.result("a")
    await finish(app, "a", 1)

    with fail_after(60):
        assert [one async for one in app.as_completed([handle, handle])] == [handle]
        assert await app.gather([handle, app.result("a"), handle]) == [1, 1, 1]


async def test_no_handles_are_no_wait(app):
    with fail_after(60):
        assert [one async for one in app.as_completed([])] == []
        assert await app.gather([]) == []
        assert await app.gather([], timeout=0) == []


async def test_handles_of_several_apps_may_be_awaited_together(app, clock):
    other = Chicory("memory://", clock=clock)
    await finish(app, "a", 1)
    await finish(other, "b", 2)

    with fail_after(60):
        assert await app.gather([other.result("b"), app.result("a")]) == [2, 1]


async def test_many_calls_are_subscribed_to_in_a_few_round_trips(app):
    names = [str(number) for number in range(1000)]
    for name in names:
        await finish(app, name, name)
    transport = (await app.backend_link.session()).transport
    before = transport.calls

    with fail_after(60):
        assert await app.gather([app.result(name) for name in names]) == names

    assert transport.calls - before < 10


async def test_a_result_of_another_id_in_its_record_is_that_of_its_key(app):
    transport = (await app.backend_link.session()).transport
    body = record.encode(TaskResult(task_id="other", state=TaskState.SUCCESS))
    await transport.store([Record("a", body, 60)])

    with fail_after(60):
        assert [one.task_id async for one in app.as_completed([app.result("a")])] == ["a"]


async def test_who_stops_iterating_closes_and_may_go_on(app):
    handles = [app.result(name) for name in "abc"]
    await finish(app, "a")
    completed = app.as_completed(handles)

    async for _ in completed:
        break
    await completed.aclose()
    assert await watched(app) == {}
    await finish(app, "b")
    await finish(app, "c")

    with fail_after(60):
        assert {one.task_id async for one in completed} == {"b", "c"}


async def test_who_is_cancelled_while_iterating_leaves_nothing_under_watch_and_may_go_on(app):
    completed = app.as_completed([app.result("a"), app.result("b")])

    with anyio.move_on_after(0.001):
        async for _ in completed:
            pass
    assert await watched(app) == {}
    await finish(app, "a")
    await finish(app, "b")

    with fail_after(60):
        assert {one.task_id async for one in completed} == {"a", "b"}


async def test_who_iterates_while_the_app_disconnects_is_told(app):
    errors = []

    async def iterate():
        try:
            async for _ in app.as_completed([app.result("a"), app.result("b")]):
                pass
        except BrokerConnectionError as error:
            errors.append(error)

    with fail_after(60):
        async with create_task_group() as tasks:
            tasks.start_soon(iterate)
            await wait_all_tasks_blocked()
            await app.disconnect()

    assert len(errors) == 1


# -- gather -------------------------------------------------------------------------------


async def test_values_are_gathered_in_the_order_of_their_handles(app):
    handles: list[AsyncResult[int]] = [app.result(name) for name in "abc"]
    values = []

    async def gather():
        values.extend(await app.gather(handles))

    with fail_after(60):
        async with create_task_group() as tasks:
            tasks.start_soon(gather)
            for number, name in enumerate("cab"):
                await wait_all_tasks_blocked()
                await finish(app, name, number)

    assert values == [1, 2, 0]


async def test_the_first_failure_in_the_order_of_the_handles_is_raised(app):
    for name in "cba":
        await finish(app, name, state=TaskState.FAILURE, error=f"of {name}")

    with pytest.raises(TaskError, match=r"of b"):
        await app.gather([app.result(name) for name in "bca"], timeout=10)


async def test_who_gathers_in_vain_is_told_how_many_are_missing(app):
    await finish(app, "a")

    with pytest.raises(TimeoutError, match=r"^2 of 3 results did not come within 0\.05 s$"):
        await app.gather([app.result(name) for name in "abc"], timeout=0.05)

    assert await watched(app) == {}


async def test_a_timeout_of_the_caller_s_own_is_the_caller_s_own(app):
    with anyio.move_on_after(0.001) as scope:
        await app.gather([app.result("a")], timeout=60)

    assert scope.cancelled_caught
    assert await watched(app) == {}


# -- mistakes -----------------------------------------------------------------------------


@pytest.fixture
def wait(app):
    """Ways to wait for several calls."""

    async def completed(results):
        async for _ in app.as_completed(results):
            pass

    async def in_a_thread(results):
        await to_thread.run_sync(app.gather_sync, results)

    return (app.gather, completed, in_a_thread)


async def test_a_forgotten_await_is_told(app, point, wait):
    handle = await point.delay(1)
    for gather in wait:
        for results, told in (
            (point.delay(1), r"^coroutine is no list of handles: write \[await task\.delay\("),
            (handle, r"^AsyncResult is no list of handles: write \[await task\.delay\("),
            ([handle, point.delay(1)], r"^coroutine is no handle: write await task\.delay\("),
            (handle.task_id, r"^str is no handle: write await task\.delay\("),
        ):
            with pytest.raises(TypeError, match=told):
                await gather(results)
            for one in results if isinstance(results, list) else [results]:
                getattr(one, "close", str)()
    assert not await watched(app)


@pytest.mark.parametrize("given", ["5", timedelta(seconds=5), math.nan, b"5", [5]], ids=by_repr)
async def test_a_timeout_that_is_no_number_is_refused_before_anything_is_asked(app, given):
    handle = app.result("a")
    told = rf"^timeout={re.escape(repr(given))}: must be a number of seconds, or None$"
    for wait in (
        partial(handle.get, given),
        partial(app.backend.wait, "a", given),
        partial(app.gather, [handle], given),
        partial(app.gather, [], timeout=given),
        partial(to_thread.run_sync, handle.get_sync, given),
        partial(to_thread.run_sync, app.gather_sync, [handle], given),
    ):
        with pytest.raises(ValidationError, match=told):
            await wait()
    assert app.backend_link.opened() is None


@pytest.mark.parametrize("given", [0, -1, -math.inf])
async def test_a_timeout_that_is_over_is_a_single_look(app, given):
    with pytest.raises(TimeoutError):
        await app.result("a").get(given)
    await finish(app, "a", 1)
    assert await app.result("a").get(given) == 1
