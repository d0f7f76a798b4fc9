"""Who begins to watch can give up at any time."""

from anyio import Event, create_task_group, fail_after, sleep_forever

from chicory_nats.threads import Threads


async def test_who_gives_up_does_not_wait_for_an_answer(connect, monkeypatch):
    looking = Event()

    async def look(*_: object) -> None:
        transport._bridge.call_back(looking.set)
        await sleep_forever()

    transport = await connect()
    monkeypatch.setattr(Threads, "look", look)

    with fail_after(60):
        async with create_task_group() as group:
            group.start_soon(transport.watch, ["1"], lambda _id, _body: None)
            await looking.wait()
            group.cancel_scope.cancel()
