"""An asyncio loop that is a guest of trio: each has its turns, and neither keeps the other."""

import asyncio
import selectors
import subprocess
import sys
import threading

import anyio
import pytest
import sniffio
import trio
from anyio import create_task_group, fail_after

from chicory.bridge import Bridge
from chicory.errors import BrokerConnectionError, ConfigurationError
from chicory.guest import GuestLoop

pytestmark = pytest.mark.parametrize("anyio_backend", ["trio"])

DEADLINE = 60


@pytest.fixture
async def bridge():
    bridge = Bridge("guest")
    await bridge.open()
    yield bridge
    with fail_after(DEADLINE):
        await bridge.close()


async def forever() -> None:
    await asyncio.get_running_loop().create_future()


async def the_loop() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


async def test_it_runs_in_the_thread_of_trio_and_leaves_none_behind(bridge):
    async def look():
        return threading.get_ident(), threading.active_count()

    assert await bridge.run(look) == (threading.get_ident(), threading.active_count())


async def test_a_guest_that_never_waits_leaves_trio_its_turns(bridge):
    turns = 0

    async def spin():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    with fail_after(DEADLINE):
        async with create_task_group() as group:
            group.start_soon(bridge.run, spin)
            while turns < 1000:
                await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()


async def test_trio_that_never_waits_leaves_its_guest_its_turns(bridge):
    async def ask():
        return await asyncio.get_running_loop().run_in_executor(None, threading.get_ident)

    async def spin():
        while True:
            await anyio.lowlevel.checkpoint()

    with fail_after(DEADLINE):
        async with create_task_group() as group:
            group.start_soon(spin)
            assert await bridge.run(ask) != threading.get_ident()
            group.cancel_scope.cancel()


async def test_an_alarm_rings_that_is_set_while_the_guest_sleeps_for_longer(bridge):
    with fail_after(DEADLINE):
        async with create_task_group() as group:
            group.start_soon(bridge.run, asyncio.sleep, 3600)
            await trio.testing.wait_all_tasks_blocked()
            await bridge.run(asyncio.sleep, 0.001)
            group.cancel_scope.cancel()


async def test_what_another_thread_says_wakes_a_guest_that_sleeps(bridge):
    loop, heard = await bridge.run(the_loop), asyncio.Event()

    async with create_task_group() as group:
        group.start_soon(bridge.run, heard.wait)
        await trio.testing.wait_all_tasks_blocked()
        await anyio.to_thread.run_sync(loop.call_soon_threadsafe, heard.set)


async def test_libraries_know_which_loop_runs_them(bridge):
    seen: list[str] = []

    async def look():
        seen.append(sniffio.current_async_library())
        bridge.call_back(lambda: seen.append(sniffio.current_async_library()))
        seen.append(sniffio.current_async_library())

    await bridge.run(look)

    assert seen == ["asyncio", "trio", "asyncio"]
    assert sniffio.current_async_library() == "trio"


async def test_what_is_half_done_is_not_interrupted_by_the_keyboard(bridge):
    async def look():
        return trio.lowlevel.currently_ki_protected()

    assert not trio.lowlevel.currently_ki_protected()
    assert await bridge.run(look)


async def test_what_would_end_a_whole_loop_ends_one_task(bridge):
    async def leave():
        raise SystemExit(3)

    guest = GuestLoop(trio)
    task = guest.loop.create_task(leave())
    guest.turn()
    await guest.end()

    with pytest.raises(SystemExit):
        task.result()
    with pytest.raises(SystemExit):
        await bridge.run(leave)


async def test_an_error_of_who_is_called_back_is_logged(bridge, caplog):
    async def tell():
        bridge.call_back(lambda: 1 / 0)
        return "told"

    assert await bridge.run(tell) == "told"
    assert "ZeroDivisionError" in caplog.text


async def test_a_closed_one_leaves_nothing_open():
    bridge = Bridge("guest")
    await bridge.open()
    loop = await bridge.run(the_loop)

    await bridge.close()

    assert loop.is_closed()


def test_it_ends_with_trio_where_nobody_closes_it(anyio_backend):
    bridge = Bridge("guest")

    async def main():
        await bridge.open()
        loop = await bridge.run(the_loop)
        return loop, loop.create_task(forever())

    loop, task = trio.run(main)

    assert loop.is_closed()
    assert task.cancelled()


def test_a_program_that_closes_nothing_ends_without_a_word(anyio_backend):
    """In an interpreter of its own: it has loaded nothing that these tests have."""
    program = """
import asyncio, trio
from chicory.bridge import Bridge

async def main():
    bridge = Bridge("guest")
    await bridge.open()
    await bridge.run(asyncio.sleep, 0)

trio.run(main)
"""
    ended = subprocess.run(
        [sys.executable, "-X", "dev", "-c", program],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


@pytest.mark.parametrize("round_", range(10))
def test_what_ends_with_trio_can_use_it_to_the_last(anyio_backend, round_):
    """As a worker that was started in the background does."""
    bridge, said = Bridge("guest"), []

    async def part():
        for _ in range(round_):
            await trio.lowlevel.cancel_shielded_checkpoint()
        for word in ("settled", "closed"):
            await bridge.run(asyncio.sleep, 0.001)
            said.append(word)
        await bridge.close()

    async def work():
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await part()

    async def main():
        trio.lowlevel.spawn_system_task(work)
        await bridge.open()
        await trio.testing.wait_all_tasks_blocked()

    trio.run(main)

    assert said == ["settled", "closed"]


def test_once_trio_has_ended_it_refuses(anyio_backend):
    bridge, refused = Bridge("guest"), []

    async def last():
        try:
            yield
        finally:  # trio ends what is left of generators when all its tasks have ended
            with trio.CancelScope(shield=True):
                try:
                    await bridge.run(asyncio.sleep, 0)
                except BrokerConnectionError as error:
                    refused.append(str(error))
                await bridge.close()

    async def main():
        await bridge.open()
        generator = last()
        await anext(generator)
        return generator

    generator = trio.run(main)

    assert generator.ag_frame is None
    assert refused == ["guest: the connection is closed"]


def test_trio_may_be_a_guest_itself(anyio_backend):
    bridge = Bridge("guest")

    async def main():
        await bridge.open()
        loop = await bridge.run(the_loop)
        await bridge.run(asyncio.sleep, 0.001)
        await bridge.close()
        return loop

    async def host():
        loop = asyncio.get_running_loop()
        ended = loop.create_future()
        trio.lowlevel.start_guest_run(
            main,
            run_sync_soon_threadsafe=loop.call_soon_threadsafe,
            done_callback=ended.set_result,
        )
        outcome = await ended
        assert asyncio.get_running_loop() is loop
        return loop, outcome.unwrap()

    ours, its = asyncio.run(host())

    assert ours is not its


async def test_a_system_that_cannot_be_watched_is_refused(monkeypatch):
    monkeypatch.delattr(selectors.DefaultSelector, "fileno")

    with pytest.raises(ConfigurationError, match="use asyncio here"):
        await Bridge("guest").open()
