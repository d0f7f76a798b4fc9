"""Records are pushed to those who watch, and none is missed."""

from __future__ import annotations

import asyncio
import threading

import anyio.lowlevel
from anyio import create_task_group

from chicory.testing.contract.harness import Harness
from chicory.testing.contract.steps import (
    Heard,
    count,
    done,
    give,
    letter,
    live,
    message,
    record,
    until_idle,
)
from chicory.transport import (
    Dead,
    Retry,
    Stage,
    Transport,
)


class WatchContract:
    """``watch`` and ``unwatch``."""

    async def test_what_is_stored_later_is_heard(self, harness: Harness) -> None:
        here, there = await harness.connect(), await harness.connect()
        heard = Heard(harness)
        await here.watch(["1"], heard)

        await there.store([record("1", b"first")])
        await heard.until_hearing("1", b"first")
        await there.store([record("1", b"second")])
        await heard.until_hearing("1", b"second")

    async def test_a_record_that_is_stored_again_is_heard_again(self, harness: Harness) -> None:
        here, there = await harness.connect(), await harness.connect()
        heard = Heard(harness)
        await here.watch(["1"], heard)

        for times in (1, 2):
            await there.store([record("1", b"the same")])
            await heard.until(times)

        assert set(heard.records) == {("1", b"the same")}

    async def test_what_is_stored_already_is_heard(self, harness: Harness) -> None:
        here, there = await harness.connect(), await harness.connect()
        heard = Heard(harness)
        await there.store([record("1", b"before"), record("other")])

        await here.watch(["1", "2"], heard)

        await heard.until_hearing("1", b"before")
        assert {task_id for task_id, _ in heard.records} == {"1"}

    async def test_one_is_told_by_its_own_connection_too(self, harness: Harness) -> None:
        transport = await harness.connect()
        heard = Heard(harness)
        (delivery,) = await give(transport, "1")
        await transport.watch(["1"], heard)

        await transport.settle([done(delivery, b"result")])

        await heard.until_hearing("1", b"result")

    async def test_sinks_are_called_on_the_loop_of_the_watcher(self, harness: Harness) -> None:
        here, there = await harness.connect(), await harness.connect()
        heard = Heard(harness)
        threads: set[int] = set()

        def sink(task_id: str, body: bytes) -> None:
            threads.add(threading.get_ident())
            heard(task_id, body)

        await here.watch(["1"], sink)
        await there.store([record("1", b"result")])

        await heard.until(1)
        assert threads == {threading.get_ident()}

    async def test_none_is_missed_between_the_look_and_the_wait(self, harness: Harness) -> None:
        here, there = await harness.connect(), await harness.connect()
        heard = Heard(harness)

        for number in range(40):
            name = str(number)
            async with create_task_group() as group:
                group.start_soon(here.watch, [name], heard)
                for _ in range(number % 20):
                    await anyio.lowlevel.checkpoint()
                group.start_soon(there.store, [record(name, b"result")])
            await heard.until_hearing(name, b"result")

    async def test_none_is_missed_while_the_loop_is_busy(self, harness: Harness) -> None:
        here = await harness.connect()
        heard = Heard(harness)

        for number in range(20):
            name = str(number)
            async with create_task_group() as group:
                group.start_soon(here.watch, [name], heard)
                await anyio.lowlevel.checkpoint()
                _store_elsewhere(here.clone(), name)
            await heard.until_hearing(name, b"result")
            here.unwatch([name])

    async def test_the_last_one_heard_is_the_last_one_stored(self, harness: Harness) -> None:
        here, there = await harness.connect(), await harness.connect()
        heard = Heard(harness)
        await here.watch(["1"], heard)

        for number in range(50):
            await there.store([record("1", b"%d" % number)])

        await heard.until_hearing("1", b"49")
        bodies = [int(body) for _, body in heard.records]
        assert bodies == sorted(bodies)

    async def test_when_one_is_heard_its_settlement_is_over(self, harness: Harness) -> None:
        here, there = await harness.connect(), await harness.connect()

        for number in range(10):
            name = str(number)
            heard = Heard(harness)
            (delivery,) = await give(here, name)
            await there.watch([name], heard)

            async with create_task_group() as group:
                follow_ups = [message(f"after {name}", queue=f"after {name}")]
                group.start_soon(here.settle, [done(delivery, b"result", follow_ups)])
                await heard.until_hearing(name, b"result")
                assert (await there.look_up([name]))[0].stage is Stage.RECORDED
                assert live(await count(there)) == 0
                assert live(await count(there, f"after {name}")) == 1

    async def test_who_unwatches_hears_no_more(self, harness: Harness) -> None:
        here, there = await harness.connect(), await harness.connect()
        heard, other = Heard(harness), Heard(harness)
        await here.watch(["1", "2"], heard)
        await here.watch(["3"], other)

        here.unwatch(["1", "unknown"])
        await there.store([record(name) for name in ("1", "2", "3")])

        await other.until(1)
        await heard.until_hearing("2", b"result")
        assert {task_id for task_id, _ in heard.records} == {"2"}

    async def test_watching_again_replaces_the_sink_and_tells_it_what_is_stored(
        self, harness: Harness
    ) -> None:
        here, there = await harness.connect(), await harness.connect()
        first, second = Heard(harness), Heard(harness)
        await there.store([record("1", b"before")])
        await here.watch(["1"], first)
        await first.until_hearing("1", b"before")

        await here.watch(["1"], second)
        await second.until_hearing("1", b"before")
        await there.store([record("1", b"after")])
        await second.until_hearing("1", b"after")
        await until_idle()

        assert ("1", b"after") not in first.records

    async def test_many_connections_watch_one_call(self, harness: Harness) -> None:
        here = await harness.connect()
        everyone = [Heard(harness) for _ in range(3)]
        for heard in everyone:
            await (await harness.connect()).watch(["1"], heard)

        await here.store([record("1", b"result")])

        for heard in everyone:
            await heard.until_hearing("1", b"result")

    async def test_thousands_are_watched_at_once(self, harness: Harness) -> None:
        here, there = await harness.connect(), await harness.connect()
        heard = Heard(harness)
        names = [str(number) for number in range(3000)]
        await there.store([record(name) for name in names[:1000]])
        await here.watch(names, heard)

        for start in range(1000, 3000, 500):
            await there.store([record(name) for name in names[start : start + 500]])

        await heard.until(3000)
        assert {task_id for task_id, _ in heard.records} == set(names)

    async def test_a_deletion_is_not_heard(self, harness: Harness) -> None:
        here, there = await harness.connect(), await harness.connect()
        heard = Heard(harness)
        await here.watch(["1", "2"], heard)

        await there.store([record("1", None), record("2", b"result")])

        await heard.until_hearing("2", b"result")
        assert {task_id for task_id, _ in heard.records} == {"2"}

    async def test_those_of_retries_and_dead_letters_are_heard(self, harness: Harness) -> None:
        here, there = await harness.connect(), await harness.connect()
        heard = Heard(harness)
        await here.watch(["1", "2"], heard)
        one, two = await give(there, "1", "2")

        await there.settle(
            [
                Retry(one.receipt, message("1"), record("1", b"retry")),
                Dead(two.receipt, letter(two), record("2", b"dead")),
            ]
        )

        assert sorted(await heard.until(2)) == [("1", b"retry"), ("2", b"dead")]


def _store_elsewhere(clone: Transport, name: str) -> None:
    """Store a record from another thread, while the loop of this one stands still."""

    async def store() -> None:
        async with clone:
            await clone.store([record(name, b"result")])

    thread = threading.Thread(target=asyncio.run, args=[store()])
    thread.start()
    thread.join()
