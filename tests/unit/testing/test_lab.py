"""An app in a Lab: in memory, in a time that the test moves."""

from __future__ import annotations

import math
import socket
from concurrent.futures import ThreadPoolExecutor

import anyio
import pytest

from chicory import (
    BrokerConnectionError,
    Chicory,
    ChicoryConfig,
    Priority,
    RetryPolicy,
    TaskContext,
    TaskMessage,
    ValidationError,
)
from chicory.clock import SystemClock
from chicory.testing import Lab, ManualClock
from chicory.testing import lab as laboratory
from chicory.testing.clock import START


@pytest.fixture
def app(tmp_path) -> Chicory:
    return Chicory(f"sqlite:///{tmp_path / 'queue.db'}")


def note(app: Chicory, ran: list[int], **options):
    @app.task(name="note", **options)
    async def note(n: int) -> int:
        ran.append(n)
        return n

    return note


async def test_the_app_is_as_it_was_afterwards(app, tmp_path):
    task = note(app, ran := [])
    template, clock = app.broker_link.template, app.clock
    await task.delay(1)

    with Lab(app) as lab:
        assert await lab.drain() == 0
        await task.delay(2)
        assert await lab.drain() == 1

    assert (app.broker_link.template, app.clock) == (template, clock)
    assert isinstance(app.clock, SystemClock)
    assert await app.broker.get_queue_size() == 1
    assert ran == [2]
    await app.disconnect()


async def test_each_lab_begins_empty(app):
    task = note(app, [])
    for _ in range(2):
        with Lab(app) as lab:
            assert lab.calls() == []
            await task.delay(1)
            assert len(lab.calls()) == 1


def test_an_app_is_in_one_lab_at_a_time(app):
    with Lab(app), pytest.raises(RuntimeError, match="in a Lab already"):
        Lab(app).__enter__()


async def test_results_on_another_server_are_in_memory_too(tmp_path):
    app = Chicory(f"sqlite:///{tmp_path / 'a.db'}", f"sqlite:///{tmp_path / 'b.db'}")
    task = note(app, [])

    with Lab(app) as lab:
        result = await task.delay(1)
        await lab.drain()
        assert await result.get(timeout=60) == 1

    assert not list(tmp_path.glob("*.db"))


async def test_a_result_is_waited_for_until_another_task_of_the_test_drains(app):
    task, values = note(app, []), []

    async def wait(result):
        values.append(await result.get())

    with Lab(app) as lab, anyio.fail_after(60):
        result = await task.delay(1)
        with pytest.raises(TimeoutError):
            await result.get(timeout=0)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait, result)
            await anyio.wait_all_tasks_blocked()
            assert values == []
            await lab.drain()

    assert values == [1]


async def test_who_waits_for_a_result_when_the_lab_ends_is_told(app):
    task, told = note(app, []), []

    async def wait(result):
        with pytest.raises(BrokerConnectionError, match="the Lab ended while the result of "):
            await result.get()
        told.append(result.task_id)

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            with Lab(app):
                handles = [await task.delay(n) for n in range(2)]
                for handle in handles:
                    tasks.start_soon(wait, handle)
                await anyio.wait_all_tasks_blocked()

    assert sorted(told) == sorted(handle.task_id for handle in handles)


def test_who_waits_in_a_thread_when_the_lab_ends_is_told(app):
    task = note(app, [])

    async def until_somebody_waits():
        session = await app.broker_link.session()
        while not session.results._callbacks:
            await anyio.lowlevel.checkpoint()

    with ThreadPoolExecutor(1) as threads:
        with Lab(app):
            handle = task.delay_sync(1)
            waiting = threads.submit(handle.get_sync)
            app.run_sync(until_somebody_waits)
        with pytest.raises(BrokerConnectionError, match="the Lab ended"):
            waiting.result(60)


async def test_a_limit_of_the_settings_ends_a_wait_that_nobody_drains_for(tmp_path):
    config = ChicoryConfig(result_default_timeout=0)
    app = Chicory(f"sqlite:///{tmp_path / 'queue.db'}", config=config)
    task = note(app, [])

    with Lab(app):
        result = await task.delay(1)
        with pytest.raises(TimeoutError):
            await result.get()


async def test_calls_run_one_by_one_in_order(app):
    task = note(app, ran := [])

    with Lab(app) as lab:
        for n in range(3):
            await task.delay(n)
        await task.options(priority=Priority.HIGH).delay(3)
        assert await lab.drain() == 4

    assert ran == [3, 0, 1, 2]


async def test_what_is_due_runs_at_its_moment(app):
    moments = []

    @app.task(name="chain", retry_policy=RetryPolicy(max_retries=1, retry_delay=7, jitter=False))
    async def chain(ctx: TaskContext, n: int) -> None:
        moments.append((n, app.clock.now() - START))
        if n == 1 and not ctx.retries:
            raise ValueError
        if n < 2:
            await chain.options(delay=10).delay(n + 1)

    with Lab(app) as lab:
        await chain.options(delay=5).delay(0)
        assert await lab.advance(100) == 4
        assert lab.clock.now() == START + 100

    assert moments == [(0, 5), (1, 15), (1, 22), (2, 32)]


async def test_a_task_may_move_the_clock_further_than_the_test_does(app):
    task = note(app, ran := [])

    @app.task(name="leap")
    async def leap() -> None:
        lab.clock.advance(7)  # less than the lease
        await task.delay(1)

    with Lab(app) as lab:
        await leap.options(delay=1).delay()
        assert await lab.advance(5) == 2
        assert lab.clock.now() == START + 8
    assert ran == [1]


async def test_paused_queues_stay_as_they_are(app):
    task = note(app, ran := [])

    with Lab(app) as lab:
        await app.broker.pause()
        await task.options(delay=1).delay(1)
        assert await lab.advance(5) == 0
        await app.broker.resume()
        assert await lab.drain() == 1
    assert ran == [1]


async def test_tasks_that_enqueue_each_other_for_ever_are_found(app, monkeypatch):
    monkeypatch.setattr(laboratory, "MAX_ATTEMPTS", 20)

    @app.task(name="again")
    async def again() -> None:
        await again.delay()

    with Lab(app) as lab:
        await again.delay()
        with pytest.raises(AssertionError, match="20 attempts and no end"):
            await lab.drain()


async def test_a_call_that_takes_its_workers_down_is_a_dead_letter(app):
    task = note(app, ran := [])

    with Lab(app) as lab:
        await task.delay(1)
        for _ in range(app.config.worker.max_crashes):
            assert len(await lab.lose_worker()) == 1
            lab.clock.advance(app.config.lease)
        await lab.drain()
        (letter,) = await app.broker.get_dlq_messages()

    assert (letter.reason, ran) == ("crashed", [])


async def test_its_workers_open_no_port_whatever_the_environment_says(app, monkeypatch):
    task = note(app, ran := [])
    with socket.create_server(("127.0.0.1", 0)) as taken, Lab(app) as lab:
        monkeypatch.setenv("CHICORY_WORKER_HEALTH_PORT", str(taken.getsockname()[1]))
        await task.delay(1)
        assert await lab.drain() == 1
    assert ran == [1]


async def test_a_clock_of_one_s_own(app):
    with Lab(app, clock=ManualClock(1000.0)):
        assert app.clock.now() == 1000


# -- what was enqueued ------------------------------------------------------------------------


@pytest.fixture
def ship(app):
    @app.task(name="ship", queue="mail", headers={"a": "b"})
    async def ship(
        order: int, ctx: TaskContext, items: tuple[str, ...] = (), *, fast: bool = False
    ):
        return ctx.task_id

    return ship


async def test_a_call_is_found_however_its_arguments_were_passed(app, ship):
    with Lab(app) as lab:
        await ship.delay(order=1, items=("x",))
        result = await ship.options(delay=60, priority=2, unique="k").delay(2, ["x"], fast=True)

        assert lab.assert_enqueued(ship, 1, items=["x"]) is not None
        call = lab.assert_enqueued(ship, 2, ("x",), fast=True)

    assert call.arguments == {"order": 2, "items": ("x",), "fast": True}
    assert (call.task_id, call.name, call.queue) == (result.task_id, "ship", "mail")
    assert (call.priority, call.unique, call.headers) == (Priority.HIGH, "ship:k", {"a": "b"})
    assert call.due is not None
    assert call.due.timestamp() == START + 60


async def test_a_call_that_is_not_there_is_told_from_those_that_are(app, ship):
    with Lab(app) as lab:
        with pytest.raises(AssertionError, match=r"ship\(order=1.*nothing was enqueued"):
            lab.assert_enqueued(ship, 1)
        await ship.delay(2)
        text = r"(?s)ship\(order=1, .*\) was not enqueued; enqueued were:\n  ship\(order=2, "
        with pytest.raises(AssertionError, match=text):
            lab.assert_enqueued(ship, 1)
        with pytest.raises(AssertionError, match=r"(?s)ship was enqueued; .*order=2"):
            lab.assert_not_enqueued(ship)
        with pytest.raises(ValidationError):
            lab.assert_enqueued(ship, "x")
        lab.clear()
        lab.assert_not_enqueued(ship)
        assert await app.broker.get_queue_size("mail") == 1


async def test_signed_calls_are_told_like_others(tmp_path):
    config = ChicoryConfig(signing_keys=f"k1:{'s' * 40}")
    app = Chicory(f"sqlite:///{tmp_path / 'queue.db'}", config=config)
    task = note(app, ran := [])

    with Lab(app) as lab:
        await task.delay(1)
        await app.broker.publish(TaskMessage(id="id", name="elsewhere", args=[2]))

        assert lab.assert_enqueued(task, 1).arguments == {"n": 1}
        with pytest.raises(AssertionError, match="elsewhere\\(0=2\\)"):
            lab.assert_not_enqueued(task)
        assert [call.name for call in lab.calls()] == ["note", "elsewhere"]
        assert await lab.drain() == 2

    assert ran == [1]


async def test_a_retry_is_no_new_call(app):
    @app.task(
        name="fail",
        delivery_mode="at_most_once",
        retry_policy=RetryPolicy(max_retries=2, retry_delay=0),
    )
    async def fail() -> None:
        raise ValueError

    with Lab(app) as lab:
        await fail.delay()
        assert await lab.drain() == 3
        assert len(lab.calls(fail)) == 1


async def test_a_retry_of_a_call_that_was_cleared_is_no_new_call(app):
    @app.task(
        name="fail",
        delivery_mode="at_most_once",
        retry_policy=RetryPolicy(max_retries=1, retry_delay=0),
    )
    async def fail() -> None:
        raise ValueError

    with Lab(app) as lab:
        await fail.delay()
        lab.clear()
        assert await lab.drain() == 2
        lab.assert_not_enqueued(fail)


async def test_calls_under_one_id_are_as_many_as_were_accepted(app):
    task = note(app, ran := [])
    with Lab(app) as lab:
        for _ in range(2):
            for _ in range(2):  # the second one is a duplicate of the first, which still waits
                await app.broker.publish(TaskMessage(id="id", name="note", args=[1]))
            await lab.drain()

        assert ran == [1, 1]
        assert [call.task_id for call in lab.calls(task)] == ["id", "id"]


async def test_a_call_that_does_not_fit_is_told_as_it_travels(app):
    note(app, [])
    with Lab(app) as lab:
        await app.broker.publish(TaskMessage(id="1", name="note", args=["x", 2], kwargs={"a": 3}))

        assert [call.arguments for call in lab.calls()] == [{0: "x", 1: 2, "a": 3}]


@pytest.mark.parametrize("seconds", [math.inf, math.nan])
async def test_time_moves_by_a_number_of_seconds(app, seconds):
    with Lab(app) as lab:
        with pytest.raises(ValueError, match="how many seconds"):
            await lab.advance(seconds)
        with pytest.raises(ValueError, match="how many seconds"):
            lab.clock.advance(seconds)

        assert lab.clock.now() == START


async def test_time_does_not_go_back_and_nothing_runs_meanwhile(app):
    task = note(app, ran := [])
    with Lab(app) as lab:
        await task.delay(1)
        with pytest.raises(ValueError, match="does not go back"):
            await lab.advance(-1)

        assert ran == []
        assert await lab.drain() == 1


async def test_an_argument_may_have_the_name_of_one_of_ours(app):
    @app.task(name="odd")
    async def odd(self: int, task: int) -> int:
        return self + task

    with Lab(app) as lab:
        result = await odd.delay(self=1, task=2)
        lab.assert_enqueued(odd, self=1, task=2)
        await lab.drain()

        assert await result.get() == 3
