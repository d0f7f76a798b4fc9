"""Names and ids are any text, and never mixed up."""

from __future__ import annotations

from chicory.testing.contract.harness import Harness
from chicory.testing.contract.steps import (
    Heard,
    body_of,
    count,
    dead,
    done,
    ids,
    message,
    record,
    take,
)
from chicory.transport import Accepted, Cancelled, Counts, Duplicate, WorkerRecord

ODD = (
    "q",
    "Q",
    "q ",
    " q",
    " ",
    ".",
    "a.b",
    "a/b",
    "a:b",
    "a b",
    "a\tb",
    "a\nb",
    "a\\b",
    "a\\nb",
    "a\x00b",
    "a\x7fb",
    "*",
    "a*",
    ">",
    "?",
    "[a]",
    "{q}",
    "%",
    "_",
    "%61",
    "$q",
    "'; DROP TABLE messages; --",
    '"',
    "é",
    "e\N{COMBINING ACUTE ACCENT}",
    "\N{SNOWMAN}",
    "\N{PILE OF POO}",
    "0",
    "00",
    "None",
    "x" * 254 + "y",
    "x" * 254 + "z",
    "\N{PILE OF POO}" * 255,
)


class TextContract:
    """Queues, ids, keys and the names of workers."""

    async def test_queues_are_kept_apart(self, harness: Harness) -> None:
        transport = await harness.connect()
        await transport.publish([message(f"on {n}", queue=name) for n, name in enumerate(ODD)])

        counted = await transport.counts()
        assert dict(counted) == {name: Counts(ready=1) for name in ODD}

        for number, name in enumerate(ODD):
            (delivery,) = await take(transport, queues=[name])
            assert (delivery.queue, delivery.task_id) == (name, f"on {number}")
            await transport.settle([done(delivery)])

    async def test_ids_are_kept_apart(self, harness: Harness) -> None:
        transport = await harness.connect()

        outcomes = await transport.publish([message(name, body=name.encode()) for name in ODD])
        assert list(outcomes) == [Accepted()] * len(ODD)

        deliveries = await take(transport)
        assert ids(deliveries) == list(ODD)
        assert [delivery.body for delivery in deliveries] == [name.encode() for name in ODD]
        await transport.settle([done(one, one.task_id.encode()) for one in deliveries])
        standings = await transport.look_up(ODD)
        assert [standing.record for standing in standings] == [name.encode() for name in ODD]

    async def test_keys_are_kept_apart(self, harness: Harness) -> None:
        transport = await harness.connect()
        batch = [message(str(number), unique=name) for number, name in enumerate(ODD)]
        assert list(await transport.publish(batch)) == [Accepted()] * len(ODD)

        again = [message(f"again {number}", unique=name) for number, name in enumerate(ODD)]

        outcomes = await transport.publish(again)
        assert list(outcomes) == [Duplicate(str(number)) for number in range(len(ODD))]

    async def test_records_are_heard_under_their_ids(self, harness: Harness) -> None:
        here, there = await harness.connect(), await harness.connect()
        heard = Heard(harness)
        await here.watch(ODD[::2], heard)

        await there.store([record(name, body_of(name)) for name in ODD])

        await heard.until(len(ODD[::2]))
        assert set(heard.records) == {(name, body_of(name)) for name in ODD[::2]}

    async def test_calls_are_cancelled_by_their_ids(self, harness: Harness) -> None:
        transport = await harness.connect()
        await transport.publish([message(name) for name in ODD])

        answers = await transport.cancel([record(name) for name in ODD[::2]])

        assert list(answers) == [Cancelled.REMOVED] * len(ODD[::2])
        assert ids(await take(transport)) == list(ODD[1::2])

    async def test_pauses_and_purges_reach_one_queue(self, harness: Harness) -> None:
        transport = await harness.connect()
        await transport.publish([message(f"on {n}", queue=name) for n, name in enumerate(ODD)])

        for name in ODD[::2]:
            await transport.set_paused(name, paused=True)
        for name in ODD[1::2]:
            assert await transport.purge(name) == 1

        paused = Counts(ready=1, paused=True)
        assert dict(await transport.counts()) == dict.fromkeys(ODD[::2], paused)

    async def test_dead_letters_are_found_by_queue_and_id(self, harness: Harness) -> None:
        transport = await harness.connect()
        await transport.publish([message(name, queue=name) for name in ODD])
        for name in ODD:
            (delivery,) = await take(transport, queues=[name])
            await transport.settle([dead(delivery, name)])

        assert [one.id for one in await transport.dead_letters()] == list(ODD)
        for name in ODD:
            assert ids(await transport.dead_letters(name)) == [name]
            assert await count(transport, name) == Counts(dead=1)
        found = await transport.find_dead(ODD)
        assert [one.id for one in found if one] == list(ODD)
        replayed = await transport.replay([(name, message(name)) for name in ODD[::2]])
        assert list(replayed) == [True] * len(ODD[::2])
        assert list(await transport.discard(ODD)) == [bool(n % 2) for n in range(len(ODD))]

    async def test_workers_have_odd_names_and_queues(self, harness: Harness) -> None:
        transport = await harness.connect()
        for name in ODD:
            await transport.beat(WorkerRecord(name, ODD, name.encode()), harness.lease)

        workers = {worker.worker_id: worker for worker in await transport.workers()}

        assert set(workers) == set(ODD)
        for name in ODD:
            assert (workers[name].queues, workers[name].body) == (ODD, name.encode())
