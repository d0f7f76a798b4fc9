"""Who begins to watch waits for what is stored, but for nothing that he has been told."""

import asyncio

import pytest
from anyio import fail_after

from chicory.testing.contract.steps import record
from chicory_redis import records


@pytest.fixture(params=["asyncio"])
def anyio_backend(request):
    return request.param


async def test_told_while_it_looks_a_watch_waits_for_the_look_no_more(make, monkeypatch):
    looking = asyncio.Event()

    async def look(*_: object) -> list[bytes | None]:
        looking.set()
        return await asyncio.get_running_loop().create_future()  # it takes for ever

    told: list[bytes] = []
    async with make() as transport, make() as other:
        with fail_after(60):
            await transport.watch(["before"], lambda _id, _body: None)
            monkeypatch.setattr(records, "bodies", look)
            watching = asyncio.create_task(
                transport.watch(["1", "2"], lambda _id, body: told.append(body))
            )
            await looking.wait()
            await other.store([record("1", b"one")])
            await other.store([record("2", b"two")])

            await watching

    assert told == [b"one", b"two"]


async def test_told_of_some_it_waits_for_what_is_stored_of_the_others(make, monkeypatch):
    look, told = records.bodies, asyncio.Event()

    async def look_late(*args: object) -> list[bytes | None]:
        await told.wait()
        return await look(*args)

    monkeypatch.setattr(records, "bodies", look_late)
    heard: dict[str, bytes] = {}

    def sink(task_id: str, body: bytes) -> None:
        heard[task_id] = body
        told.set()

    async with make() as transport, make() as other:
        await other.store([record("stored", b"long ago")])
        with fail_after(60):
            watching = asyncio.create_task(transport.watch(["told", "stored"], sink))
            while "told" not in heard:  # it may not listen yet
                await other.store([record("told", b"now")])
                await asyncio.sleep(0)

            await watching

    assert heard == {"told": b"now", "stored": b"long ago"}


async def test_who_gives_up_does_not_wait_for_an_answer(make, monkeypatch):
    looking = asyncio.Event()

    async def look(*_: object) -> list[bytes | None]:
        looking.set()
        return await asyncio.get_running_loop().create_future()

    monkeypatch.setattr(records, "bodies", look)

    async with make() as transport:
        with fail_after(60):
            watching = asyncio.create_task(transport.watch(["1"], lambda _id, _body: None))
            await looking.wait()
            watching.cancel()
            await asyncio.wait([watching])
