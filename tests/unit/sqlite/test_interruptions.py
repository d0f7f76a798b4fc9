"""What asyncio itself cancels, as at the end of its loop: no shield of anyio's keeps that away."""

import asyncio
import threading

import pytest
from anyio import fail_after

from chicory.testing.contract.steps import QUEUE, message


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_a_fetch_gives_back_what_it_has_leased(make):
    async with make() as transport:
        await transport.publish([message("1"), message("2")])
        fetching = asyncio.create_task(transport.fetch([QUEUE], 2, 0))
        await asyncio.sleep(0)  # it is queued now
        fetching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await fetching

        with fail_after(10):
            again = await transport.fetch([QUEUE], 2, 5)

    assert [one.deliveries for one in again] == [1, 1]


async def test_opening_leaves_no_thread(make):
    before = set(threading.enumerate())
    opening = asyncio.create_task(make().open())
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening

    for thread in set(threading.enumerate()) - before:
        thread.join(10)
        assert not thread.is_alive()
