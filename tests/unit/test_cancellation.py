"""Cancelling what waits: with and without a backend, and with one on another server."""

import pytest

from chicory import Cancelled, Chicory, TaskCancelledError, TaskState
from chicory.errors import BrokerConnectionError, ValidationError
from chicory.testing.memory import MemoryTransport
from chicory.transport import Stage


async def work() -> None: ...


@pytest.fixture
def task(app):
    return app.task(name="work")(work)


async def test_a_call_that_waits_is_removed_and_ends_as_cancelled(app, task, clock):
    handle = await task.delay()

    answer = await handle.cancel()

    assert answer is Cancelled.REMOVED
    assert answer
    assert await app.broker.get_queue_size() == 0
    assert await handle.state() is TaskState.CANCELLED
    result = await app.backend.get_result(handle.task_id)
    assert (result.error_type, result.error) == ("cancelled", "cancelled on request")
    assert result.finished_at == clock.now()
    with pytest.raises(TaskCancelledError, match=f"^cancelled on request .task {handle.task_id}"):
        await handle.get()


async def test_what_is_not_there_is_not_cancelled(app, task):
    handle = await task.delay()
    await handle.cancel()

    for absent in (handle, app.result("never sent")):
        answer = await absent.cancel()
        assert answer is Cancelled.ABSENT
        assert not answer
    assert await app.result("never sent").state() is TaskState.PENDING


@pytest.mark.parametrize("task_id", ["", "x" * 256, "\ud800", 5, None])
async def test_what_can_be_no_id_is_refused(app, task_id):
    with pytest.raises(ValidationError, match=r"^task id .*must be text of 1 to 255"):
        await app.broker.cancel(task_id)


async def test_an_app_without_results_leaves_none(clock):
    app = Chicory("memory://", backend=None, clock=clock)
    handle = await app.task(name="work")(work).delay()

    assert await handle.cancel() is Cancelled.REMOVED

    transport = (await app.broker_link.session()).transport
    (standing,) = await transport.look_up([handle.task_id])
    assert (standing.stage, standing.record) == (Stage.WAITING, None)


async def test_the_result_is_where_results_are(clock):
    app = Chicory("memory://", backend="memory://other", clock=clock)
    handle = await app.task(name="work")(work).delay()

    assert await handle.cancel() is Cancelled.REMOVED

    with pytest.raises(TaskCancelledError):
        await handle.get()


async def test_a_result_that_was_lost_on_the_way_is_made_up_for(clock, monkeypatch):
    app = Chicory("memory://", backend="memory://another", clock=clock)
    handle = await app.task(name="work")(work).delay()
    with monkeypatch.context() as patched:

        async def fail(self, records):
            raise BrokerConnectionError("the cable is pulled")

        patched.setattr(MemoryTransport, "store", fail)
        with pytest.raises(BrokerConnectionError):
            await handle.cancel()
    assert await handle.state() is TaskState.PENDING

    await handle.cancel()

    assert await handle.state() is TaskState.CANCELLED


async def test_a_call_that_ended_keeps_its_result_on_another_server(clock, working):
    app = Chicory("memory://", backend="memory://third", clock=clock)
    task = app.task(name="work")(work)
    async with working(app):
        handle = await task.delay()
        await handle.get()

        assert await handle.cancel() is Cancelled.ABSENT
        assert await handle.state() is TaskState.SUCCESS


async def test_a_replay_that_is_refused_leaves_the_letter_and_its_result(app, working):
    @app.task(name="fails", unique="key")
    async def fails() -> None:
        raise ValueError

    async with working(app):
        dead = await fails.delay()
        with pytest.raises(Exception, match="ValueError"):
            await dead.get()
    holder = await fails.options(delay=60).delay()
    assert not holder.duplicate

    assert await app.broker.replay_from_dlq(dead.task_id) is False

    assert await app.broker.get_dlq_count() == 1
    assert await dead.state() is TaskState.DEAD_LETTERED
    await holder.cancel()
    assert await app.broker.replay_from_dlq(dead.task_id) is True
    assert (await fails.delay()).task_id == dead.task_id
