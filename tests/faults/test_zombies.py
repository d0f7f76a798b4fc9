"""Workers that stand still for longer than their leases last, and come back."""

from __future__ import annotations

import signal

import anyio
import pytest

from chicory import TaskState


@pytest.mark.parametrize("kind", ["hold", "hold_in_thread"])
async def test_the_outcome_of_a_worker_that_was_stopped_and_comes_back_does_not_count(
    fleet, gate, kind
):
    with anyio.fail_after(60):
        (zombie,) = fleet.start()
        handle = await fleet.task(kind).delay("it", gate.path)
        await fleet.ledger.has("started", pid=zombie.pid)
        fleet.stop(zombie)
        (heir,) = fleet.start()
        await fleet.ledger.has("started", pid=heir.pid)
        gate.open()
        pid = await handle.get()
        first = await fleet.app.backend.get_result(handle.task_id)
        zombie.send_signal(signal.SIGCONT)
        await fleet.ledger.has("logged", text="its lease ", pid=zombie.pid)
        zombie.terminate()
        code = await anyio.to_thread.run_sync(zombie.wait)
        last = await fleet.app.backend.get_result(handle.task_id)
        counts = (await fleet.app.broker.counts(["default"]))["default"]

    assert pid == heir.pid
    assert first == last
    assert code == 0
    assert (counts.ready, counts.leased, counts.dead) == (0, 0, 0)


async def test_an_event_loop_blocked_for_longer_than_its_lease_has_its_task_to_itself(fleet):
    with anyio.fail_after(60):
        blocked, other = fleet.start(2, worker_blocked_loop_warning=0.2)
        await fleet.ready(blocked)
        await fleet.ready(other)
        handle = await fleet.task("block").delay("it", 5)
        pid = await handle.get()
        state = await handle.state()

    (started,) = fleet.ledger.of("started")
    assert pid == started.pid
    assert state is TaskState.SUCCESS
    assert sum("the event loop is blocked" in e.key for e in fleet.ledger.of("logged")) == 1
    assert any("by task block (" in entry.key for entry in fleet.ledger.of("logged"))


async def test_a_loop_blocked_past_its_limit_gives_its_task_to_another_worker(fleet, gate):
    with anyio.fail_after(60):
        (blocked,) = fleet.start(worker_blocked_loop_warning=0.1, worker_blocked_loop_limit=0.5)
        await fleet.ready(blocked)
        handle = await fleet.task("hold_the_loop").delay("it", gate.path)
        await fleet.ledger.has("started", pid=blocked.pid)
        (other,) = fleet.start(worker_blocked_loop_limit=60)
        await fleet.ledger.has("started", pid=other.pid)
        gate.open()
        pid = await handle.get()
        await fleet.ledger.has("logged", text="the event loop answers again", pid=blocked.pid)

    assert pid == other.pid
    assert fleet.ledger.counted("started")["it"] == 2
