"""The bridge: one behaviour under asyncio and under trio."""

import asyncio
import threading
from contextlib import suppress
from contextvars import ContextVar

import anyio
import anyio.lowlevel
import pytest
from anyio import CancelScope, create_task_group, fail_after

from chicory.bridge import Bridge
from chicory.errors import BrokerConnectionError
from chicory.loop import current_loop

NAME = "test bridge"
WORD: ContextVar[str] = ContextVar("WORD", default="none")


@pytest.fixture
async def bridge():
    bridge = Bridge(NAME)
    await bridge.open()
    yield bridge
    with fail_after(60):
        await bridge.close()


async def add(one: int, two: int) -> int:
    await asyncio.sleep(0)
    return one + two


class Call:
    """Work on the asyncio side that waits, and tells what becomes of it."""

    def __init__(self) -> None:
        self._home = current_loop()
        self._begun = anyio.Event()
        self.ended: list[str] = []

    async def begun(self) -> None:
        with fail_after(60):
            await self._begun.wait()

    async def wait(self) -> None:
        self._home.call_soon(self._begun.set)
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            self.ended.append("cancelled")
            raise

    async def insist(self) -> str:
        with suppress(asyncio.CancelledError):
            await self.wait()
        return "result"


async def test_a_result_comes_back(bridge):
    assert await bridge.run(add, 1, 2) == 3


async def test_an_error_comes_back(bridge):
    async def fail():
        await asyncio.sleep(0)
        raise LookupError("nothing there")

    with pytest.raises(LookupError, match="nothing there"):
        await bridge.run(fail)


async def test_the_call_runs_on_asyncio_whoever_calls(bridge):
    async def look():
        return threading.current_thread(), asyncio.get_running_loop().is_running()

    assert await bridge.run(look) == (threading.current_thread(), True)


async def test_anyio_works_on_the_other_side(bridge):
    async def use_anyio():
        async with create_task_group() as group:
            group.start_soon(anyio.lowlevel.checkpoint)
        with CancelScope() as scope:
            scope.cancel()
            await anyio.sleep_forever()
        return scope.cancelled_caught

    assert await bridge.run(use_anyio)


async def test_the_context_of_the_caller_is_seen(bridge):
    async def look():
        await asyncio.sleep(0)
        return WORD.get()

    WORD.set("said")

    assert await bridge.run(look) == "said"


async def test_many_calls_run_at_once(bridge):
    answers: dict[int, int] = {}

    async def call(number):
        answers[number] = await bridge.run(add, number, number)

    async with create_task_group() as group:
        for number in range(200):
            group.start_soon(call, number)

    assert answers == {number: 2 * number for number in range(200)}


async def test_a_cancelled_caller_cancels_the_call_and_waits_for_its_end(bridge):
    call = Call()

    async with create_task_group() as group:
        group.start_soon(bridge.run, call.wait)
        await call.begun()
        group.cancel_scope.cancel()

    assert call.ended == ["cancelled"]


async def test_a_call_that_ends_well_although_cancelled_returns_its_result(bridge):
    call = Call()
    results: list[str] = []

    async def work():
        results.append(await bridge.run(call.insist))

    async with create_task_group() as group:
        group.start_soon(work)
        await call.begun()
        group.cancel_scope.cancel()

    assert results == ["result"]


async def test_a_caller_who_is_cancelled_already_begins_nothing(bridge):
    begun: list[bool] = []

    async def begin():
        begun.append(True)

    with CancelScope() as scope:
        scope.cancel()
        await bridge.run(begin)

    assert begun == []
    assert scope.cancelled_caught


async def test_a_deadline_ends_the_call(bridge):
    call = Call()

    with anyio.move_on_after(0.01) as scope:
        await bridge.run(call.wait)

    assert scope.cancelled_caught
    assert call.ended == ["cancelled"]


@pytest.mark.parametrize("ticks", range(50))
async def test_a_finished_call_is_never_lost_to_a_cancellation(bridge, ticks):
    finished: list[str] = []
    returned: list[str] = []

    async def finish():
        for _ in range(ticks % 10):
            await asyncio.sleep(0)
        finished.append("done")
        return "done"

    async def work():
        returned.append(await bridge.run(finish))

    with fail_after(60):
        async with create_task_group() as group:
            group.start_soon(work)
            for _ in range(ticks):
                await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()

    assert returned == finished


async def test_what_is_posted_runs_in_order_on_the_asyncio_side(bridge):
    home, done, seen = current_loop(), anyio.Event(), []

    for number in range(10):
        bridge.call_soon(seen.append, number)
    bridge.call_soon(home.call_soon, done.set)

    with fail_after(60):
        await done.wait()
    assert seen == list(range(10))


async def loop_of(bridge) -> asyncio.AbstractEventLoop:
    async def look():
        return asyncio.get_running_loop()

    return await bridge.run(look)


async def test_opening_twice_and_closing_twice_is_harmless(anyio_backend):
    bridge = Bridge(NAME)
    await bridge.open()
    loop = await loop_of(bridge)
    await bridge.open()
    assert await loop_of(bridge) is loop

    await bridge.close()
    await bridge.close()

    assert loop.is_closed() == (anyio_backend == "trio")


async def test_a_closed_bridge_can_be_opened_again(bridge):
    await bridge.close()

    await bridge.open()

    assert await bridge.run(add, 1, 2) == 3


async def test_a_closed_bridge_refuses(bridge):
    await bridge.close()

    with pytest.raises(BrokerConnectionError, match=f"{NAME}: the connection is closed"):
        await bridge.run(add, 1, 2)
    bridge.call_soon(pytest.fail)


async def test_its_loop_ends_although_its_owner_is_cancelled(bridge, anyio_backend):
    loop = await loop_of(bridge)

    with CancelScope() as scope:
        scope.cancel()
        await bridge.close()

    assert loop.is_closed() == (anyio_backend == "trio")


async def test_who_is_called_back_is_called_at_once(bridge):
    async def tell():
        said: list[int] = []
        bridge.call_back(said.append, 1)
        return said

    assert await bridge.run(tell) == [1]


@pytest.mark.parametrize("anyio_backend", ["trio"])  # under asyncio calls are their callers'
async def test_closing_ends_a_call_under_way_with_an_error(bridge):
    call = Call()
    errors: list[BrokerConnectionError] = []

    async def work():
        try:
            await bridge.run(call.wait)
        except BrokerConnectionError as error:
            errors.append(error)

    async with create_task_group() as group:
        group.start_soon(work)
        await call.begun()
        await bridge.close()

    assert call.ended == ["cancelled"]
    assert len(errors) == 1


@pytest.mark.parametrize("round_", range(50))
async def test_calls_begun_while_it_closes_end_one_way_or_the_other(bridge, round_):
    ends: list[str] = []

    async def work(number):
        try:
            ends.append(f"returned {await bridge.run(add, number, 0)}")
        except BrokerConnectionError:
            ends.append("refused")

    with fail_after(60):
        async with create_task_group() as group:
            for number in range(10):
                group.start_soon(work, number)
            for _ in range(round_ % 7):
                await anyio.lowlevel.checkpoint()
            await bridge.close()

    assert len(ends) == 10
