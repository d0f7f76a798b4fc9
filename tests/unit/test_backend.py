import math

import anyio
import msgspec
import pytest
from anyio import create_task_group, fail_after, wait_all_tasks_blocked
from named import by_text

from chicory import Chicory, TaskMessage, WorkerStats, record
from chicory.errors import BrokerConnectionError, MessageError, ValidationError
from chicory.record import TaskResult
from chicory.states import TaskState
from chicory.transport import Done, Record, WorkerRecord


@pytest.fixture
async def backend(app):
    async with app:
        yield app.backend


def outcome(task_id, state=TaskState.SUCCESS, **rest):
    return TaskResult(task_id=task_id, state=state, **rest)


def heartbeat(worker_id, **rest):
    return WorkerStats(worker_id=worker_id, hostname="h", pid=1, queue="q", concurrency=1, **rest)


# -- waiting ------------------------------------------------------------------------------


async def test_a_result_that_is_there_is_given_at_once(backend):
    await backend.store_result("a", outcome("a", result=5))

    with fail_after(60):
        assert bytes((await backend.wait("a")).result) == b"\x05"


async def test_a_result_is_pushed_to_who_waits_for_it(app, backend):
    found = []
    transport = (await app.backend_link.session()).transport

    async def wait():
        found.append(await backend.wait("a"))

    with fail_after(60):
        async with create_task_group() as tasks:
            tasks.start_soon(wait)
            await wait_all_tasks_blocked()
            calls = transport.calls
            await wait_all_tasks_blocked()
            assert transport.calls == calls  # it does not ask again
            await backend.store_result("a", outcome("a"))

    assert found[0].state is TaskState.SUCCESS


@pytest.mark.parametrize("timeout", [0, 0.001, -1])
async def test_who_waits_in_vain_is_told_for_what_and_how_long(app, backend, timeout):  # noqa: ASYNC109
    with pytest.raises(TimeoutError, match=rf"no result of task a within {timeout:g} s"):
        await backend.wait("a", timeout)

    assert (await app.backend_link.session()).results._callbacks == {}


@pytest.mark.parametrize("timeout", [0, -1])
async def test_who_does_not_wait_is_told_what_is_there(backend, timeout):  # noqa: ASYNC109
    await backend.store_result("a", outcome("a"))

    assert (await backend.wait("a", timeout)).state is TaskState.SUCCESS


@pytest.mark.parametrize("timeout", [None, math.inf])
async def test_who_waits_for_ever_waits_for_ever(backend, timeout):  # noqa: ASYNC109
    with fail_after(60):
        async with create_task_group() as tasks:
            tasks.start_soon(backend.wait, "a", timeout)
            await wait_all_tasks_blocked()
            await backend.store_result("a", outcome("a"))


async def test_who_is_cancelled_leaves_nothing_under_watch(app, backend):
    for number in (1, 20):
        async with create_task_group() as tasks:
            for index in range(number):
                tasks.start_soon(backend.wait, str(index))
            await wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
        with anyio.CancelScope() as scope:
            scope.cancel()
            await backend.wait("b")

    session = await app.backend_link.session()
    assert session.results._callbacks == {}
    assert session.transport._watcher.clear() == []


@pytest.mark.parametrize("url", ["memory://", "sqlite:///x.db"])
async def test_thousands_wait_at_once(url):
    app = Chicory(url)
    count, found = 3000, set()

    async def wait(task_id):
        found.add((await app.backend.wait(task_id)).task_id)

    with fail_after(60):
        async with app, create_task_group() as tasks:
            for number in range(count):
                tasks.start_soon(wait, str(number))
            await wait_all_tasks_blocked()
            transport = (await app.backend_link.session()).transport
            records = [
                Record(str(number), record.encode(outcome(str(number))), 60)
                for number in range(count)
            ]
            await transport.store(records)

    assert len(found) == count


async def test_a_result_that_cannot_be_read_is_an_error_and_no_endless_wait(app, backend):
    transport = (await app.backend_link.session()).transport
    await transport.store([Record("a", msgspec.msgpack.encode([2, "a", "SUCCESS"]), 60)])

    with fail_after(60), pytest.raises(MessageError, match=r"result of format 2"):
        await backend.wait("a")


async def test_who_waits_while_the_app_disconnects_is_told(app):
    errors = []

    async def wait():
        try:
            await app.backend.wait("a")
        except BrokerConnectionError as error:
            errors.append(str(error))

    with fail_after(60):
        async with app, create_task_group() as tasks:
            tasks.start_soon(wait)
            tasks.start_soon(wait)
            await wait_all_tasks_blocked()
            await app.disconnect()

    assert len(errors) == 2
    assert "closed while the result of a" in errors[0]


# -- what is stored -----------------------------------------------------------------------


async def test_a_call_goes_through_its_states(app, backend):
    transport = (await app.broker_link.session()).transport
    assert await backend.state("a") is TaskState.PENDING

    await app.broker.publish(TaskMessage(id="a", name="t"))
    assert await backend.state("a") is TaskState.PENDING
    (delivery,) = await transport.fetch(["default"], 1, 0)
    assert await backend.state("a") is TaskState.STARTED
    body = record.encode(outcome("a"))
    await transport.settle([Done(delivery.receipt, Record("a", body, 60))])

    assert await backend.state("a") is TaskState.SUCCESS
    await backend.delete_result("a")
    assert await backend.state("a") is TaskState.PENDING


async def test_an_interim_state_is_a_state(backend):
    await backend.store_result("a", outcome("a", TaskState.RETRY))

    assert await backend.state("a") is TaskState.RETRY


async def test_a_result_is_stored_read_and_deleted_by_hand(backend):
    stored = outcome("a", result={"x": [1]}, name="t")

    await backend.store_result("a", stored)

    assert await backend.get_result("a") == stored
    await backend.delete_result("a")
    assert await backend.get_result("a") is None


async def test_a_result_is_forgotten_after_its_time(app, clock, backend):
    await backend.store_result("a", outcome("a"))

    clock.advance(app.result_ttl + 1)

    assert await backend.get_result("a") is None


async def test_a_result_belongs_to_the_call_it_is_stored_for(backend):
    await backend.store_result("a", outcome("b"))

    stored = await backend.get_result("a")

    assert stored is not None
    assert stored.task_id == "a"


@pytest.mark.parametrize(
    "wrong",
    [{"result": object()}, {"state": "DONE"}, {"retries": "x"}, {"error": 5}, {"result": 2**70}],
    ids=by_text,
)
async def test_a_result_that_nobody_could_read_is_refused(backend, wrong):
    with pytest.raises(ValidationError, match=r"^result of task a: "):
        await backend.store_result("a", TaskResult(**{"task_id": "a", "state": "SUCCESS", **wrong}))

    assert await backend.get_result("a") is None


# -- workers ------------------------------------------------------------------------------


async def test_live_workers_are_listed_and_dead_or_stopped_ones_are_not(clock, backend):
    await backend.store_heartbeat("dead", heartbeat("dead"), ttl=5)
    clock.advance(10)
    await backend.store_heartbeat("live", heartbeat("live", tasks_processed=3))
    await backend.store_heartbeat("stopped", heartbeat("stopped", is_running=False))

    (worker,) = await backend.get_active_workers()

    assert (worker.worker_id, worker.tasks_processed) == ("live", 3)
    assert worker.last_heartbeat is not None
    assert worker.last_heartbeat.timestamp() == clock.now()


async def test_a_heartbeat_is_found_by_its_worker(backend):
    await backend.store_heartbeat("a", heartbeat("a", is_running=False))

    found = await backend.get_heartbeat("a")

    assert found is not None
    assert not found.is_running
    assert await backend.get_heartbeat("b") is None


async def test_a_heartbeat_of_another_version_does_not_hide_the_others(app, backend, caplog):
    transport = (await app.backend_link.session()).transport
    await transport.beat(WorkerRecord("alien", ("q",), b"\xc1"), 30)
    await transport.beat(WorkerRecord("strange", ("q",), b"\x81\xa1a" + b"\x91" * 50_000), 30)
    await backend.store_heartbeat("live", heartbeat("live"))

    assert [worker.worker_id for worker in await backend.get_active_workers()] == ["live"]
    assert "heartbeat of alien cannot be read" in caplog.text


async def test_a_healthcheck_asks_now(app, backend):
    assert (await backend.healthcheck()).connected

    await (await app.backend_link.session()).transport.close()

    assert not (await backend.healthcheck()).connected


async def test_the_backend_connects_and_disconnects_by_itself(app):
    await app.backend.connect()
    assert app.backend_link.opened() is not None
    await app.backend.disconnect()
    assert app.backend_link.opened() is None

    assert await app.backend.get_result("a") is None
