import asyncio
import socket
import sys
import threading
from functools import partial
from types import ModuleType

import anyio
import pytest
import trio
from anyio import (
    Event,
    create_task_group,
    fail_after,
    from_thread,
    to_thread,
    wait_all_tasks_blocked,
    wait_readable,
)

from chicory.bridge import Bridge
from chicory.loop import Turn, asyncio_context, current_loop, listen, spawn, turns

DEADLINE = 60


async def test_a_loop_has_one_key():
    assert current_loop().key is current_loop().key


@pytest.mark.parametrize("run", [asyncio.run, trio.run])
def test_two_loops_have_two_keys(run):
    async def key():
        return current_loop().key

    assert run(key) is not run(key) if run is trio.run else run(key()) is not run(key())


def test_where_no_loop_runs_there_is_none():
    with pytest.raises(RuntimeError):
        current_loop()


def test_a_loop_goes_on_while_another_thread_imports_trio(monkeypatch):
    async def use_a_loop() -> None:
        assert current_loop().key is asyncio.get_running_loop()
        await bridge.open()
        turn = turns()()
        spawn(partial(bridge.run, come, turn))
        await turn.wait()

    async def come(turn: Turn) -> None:
        turn.come()

    bridge = Bridge("test")
    monkeypatch.setitem(sys.modules, "trio", ModuleType("trio"))

    asyncio.run(use_a_loop())


def test_a_call_crosses_to_a_loop_while_another_thread_imports_sniffio(monkeypatch):
    monkeypatch.setitem(sys.modules, "sniffio", ModuleType("sniffio"))

    assert asyncio_context().run(lambda: "called") == "called"


async def test_a_thread_has_no_loop():
    with pytest.raises(RuntimeError):
        await to_thread.run_sync(current_loop)


async def test_a_thread_calls_into_the_loop():
    loop = current_loop()
    called = anyio.Event()
    threads: list[int] = []

    def call() -> None:
        threads.append(threading.get_ident())
        called.set()

    with fail_after(60):
        assert await to_thread.run_sync(loop.call_soon, call)
        await called.wait()

    assert threads == [threading.get_ident()]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_loop_that_has_ended_says_so(backend):
    async def get():
        return current_loop()

    loop = anyio.run(get, backend=backend)

    assert not loop.call_soon(print)


async def test_what_is_spawned_runs_in_the_background():
    begun, go_on, ended = anyio.Event(), anyio.Event(), anyio.Event()

    async def work() -> None:
        begun.set()
        await go_on.wait()
        ended.set()

    with fail_after(60):
        spawn(work)
        await begun.wait()
        assert not ended.is_set()
        go_on.set()
        await ended.wait()


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_what_is_spawned_ends_with_its_loop(backend):
    ends: list[str] = []

    async def work() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ends.append("cancelled")

    async def main() -> None:
        spawn(work)
        await anyio.lowlevel.checkpoint()
        await anyio.wait_all_tasks_blocked()

    anyio.run(main, backend=backend)

    assert ends == ["cancelled"]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_other_backend_s_import_confuses_nobody(backend):
    async def key() -> object:
        return current_loop().key

    assert isinstance(anyio.run(key, backend=backend), asyncio.AbstractEventLoop) == (
        backend == "asyncio"
    )


async def test_a_loop_in_another_thread_is_another_one():
    async def key() -> object:
        return current_loop().key

    def run() -> object:
        return anyio.run(key, backend="asyncio"), from_thread.run(key)

    other, ours = await to_thread.run_sync(run)

    assert ours is current_loop().key
    assert other is not ours


async def test_a_turn_comes_before_and_after_somebody_waits():
    make = turns()
    early, late = make(), make()
    early.come()
    passed: list[str] = []

    async def wait() -> None:
        await late.wait()
        passed.append("late")

    with fail_after(60):
        await early.wait()
        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            assert passed == []
            late.come()
            late.come()

    assert passed == ["late"]


async def test_a_turn_that_comes_for_who_was_cancelled_does_nothing():
    turn = turns()()

    with fail_after(60):
        async with anyio.create_task_group() as group:
            group.start_soon(turn.wait)
            await anyio.wait_all_tasks_blocked()
            group.cancel_scope.cancel()
        turn.come()


@pytest.fixture
def ends():
    mine, theirs = socket.socketpair()
    with mine, theirs:
        mine.settimeout(0)
        yield mine, theirs


async def test_who_listens_hears_each_time_until_it_has_heard_enough(ends):
    mine, theirs = ends
    heard: list[bytes] = []

    def hear() -> bool:
        heard.append(mine.recv(1))
        theirs.send(b"c")  # what is left, and what comes meanwhile, is heard as well
        return len(heard) < 5

    theirs.send(b"ab")
    with fail_after(DEADLINE):
        await listen(mine, hear)

    assert heard == [b"a", b"b", b"c", b"c", b"c"]


async def test_what_is_raised_by_hearing_is_raised_where_it_is_listened(ends):
    mine, theirs = ends
    theirs.send(b"a")

    def hear() -> bool:
        raise LookupError("what")

    with fail_after(DEADLINE), pytest.raises(LookupError, match="what"):
        await listen(mine, hear)


async def test_who_listens_no_more_hears_no_more(ends):
    mine, theirs = ends
    heard = Event()
    times: list[bytes] = []

    def hear() -> bool:
        times.append(mine.recv(1))
        heard.set()
        return True

    async with create_task_group() as group:
        theirs.send(b"a")
        group.start_soon(listen, mine, hear)
        with fail_after(DEADLINE):
            await heard.wait()
        group.cancel_scope.cancel()
    theirs.send(b"b")
    await wait_all_tasks_blocked()
    loop = current_loop().key
    assert not isinstance(loop, asyncio.AbstractEventLoop) or not loop.remove_reader(mine)
    with fail_after(DEADLINE):
        await wait_readable(mine)

    assert times == [b"a"]
