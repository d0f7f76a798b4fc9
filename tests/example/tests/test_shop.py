"""Tests as a user writes them."""

import pytest
from shop.tasks import CarrierBusyError, Order, app, buy, confirm, count, sent, ship

from chicory import TaskError, TaskState
from chicory.outcome import Bury, RetryIn
from chicory.testing import Rehearsal


def test_buying_ships(chicory_lab):
    buy(Order(1, ("book",)))

    call = chicory_lab.assert_enqueued(ship, Order(1, ("book",)), express=True)
    assert (call.queue, call.due) == ("default", None)
    chicory_lab.assert_not_enqueued(confirm)


def test_shipping_confirms_an_hour_later(chicory_lab):
    buy(Order(1, ("book", "lamp")))

    assert chicory_lab.drain_sync() == 1
    chicory_lab.assert_enqueued(confirm, number=1)
    assert chicory_lab.advance_sync(3599) == 0
    assert sent == []
    assert chicory_lab.advance_sync(1) == 1
    assert sent == ["1 by shop.confirm"]


async def test_the_result_comes_back(chicory_lab):
    result = await ship.delay(Order(1, ("book",)), express=True)

    await chicory_lab.drain()

    assert await result.get(timeout=60) == "express"
    assert (await result.progress()).fraction == 1


async def test_a_busy_carrier_is_asked_three_times(chicory_lab):
    result = await ship.delay(Order(2, ("piano",)))

    assert await chicory_lab.drain() == 1
    assert await result.state() is TaskState.RETRY
    assert await chicory_lab.advance(300) == 2
    with pytest.raises(TaskError, match="no room"):
        await result.get(timeout=60)
    assert len(await app.broker.get_dlq_messages()) == 1


async def test_a_late_confirmation_is_not_sent(chicory_lab):
    await confirm.delay(1)
    chicory_lab.clock.advance(3601)

    await chicory_lab.drain()

    assert sent == []


async def test_a_lost_worker_loses_no_parcel(chicory_lab):
    result = await ship.delay(Order(1, ("book",)))

    assert await chicory_lab.lose_worker() == [result.task_id]
    assert await chicory_lab.drain() == 0
    assert await chicory_lab.advance(app.config.lease) == 1
    assert await result.get(timeout=60) == "parcel"


async def test_counting_snoozes(chicory_lab):
    await count.delay()

    assert await chicory_lab.advance(1799) == 3
    sent.append("something")
    assert await chicory_lab.advance(1) == 1


async def test_one_attempt_in_place():
    rehearsal = Rehearsal(ship, retries=1)

    with pytest.raises(CarrierBusyError):
        await rehearsal.run(Order(1, ("harp", "piano")))

    assert [report.done for report in rehearsal.progress] == [1, 2]


async def test_what_a_worker_would_do():
    order = Order(1, ("piano",))

    assert isinstance(await Rehearsal(ship, retries=1).verdict(order), RetryIn)
    assert isinstance(await Rehearsal(ship, retries=2).verdict(order), Bury)


def test_a_plain_function_in_place():
    Rehearsal(confirm).run_sync(7)

    assert sent == ["7 by shop.confirm"]
