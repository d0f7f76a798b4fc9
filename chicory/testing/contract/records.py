"""The latest record of a call can be read by all, until its time is over."""

from __future__ import annotations

from chicory.testing.contract.harness import Harness
from chicory.testing.contract.steps import (
    LATER,
    TTL,
    Heard,
    dead,
    done,
    give,
    message,
    record,
)
from chicory.transport import (
    Dead,
    Done,
    Retry,
    Stage,
    Standing,
)


class RecordsContract:
    """``store`` and ``look_up``."""

    async def test_where_a_call_stands(self, harness: Harness) -> None:
        here, there = await harness.connect(), await harness.connect()
        assert list(await there.look_up(["1"])) == [Standing(Stage.WAITING)]

        await here.publish([message("1")])
        assert list(await there.look_up(["1"])) == [Standing(Stage.WAITING)]

        (delivery,) = await here.fetch(["q"], 1, 0)
        assert list(await there.look_up(["1"])) == [Standing(Stage.RUNNING)]

        await here.settle([done(delivery, b"result")])
        assert list(await there.look_up(["1"])) == [Standing(Stage.RECORDED, b"result")]

    async def test_a_settlement_stores_the_record_whatever_the_outcome(
        self, harness: Harness
    ) -> None:
        transport = await harness.connect()
        one, two, three = await give(transport, "1", "2", "3")

        await transport.settle(
            [
                done(one, b"\x00one"),
                Retry(two.receipt, message("2"), record("2", b"two")),
                Dead(three.receipt, dead(three).letter, record("3", b"three")),
            ]
        )

        standings = await transport.look_up(["1", "2", "3"])
        assert [standing.record for standing in standings] == [b"\x00one", b"two", b"three"]

    async def test_a_settlement_without_a_record_leaves_the_last_one(
        self, harness: Harness
    ) -> None:
        transport = await harness.connect()
        (delivery,) = await give(transport, "1")
        await transport.store([record("1", b"interim")])

        await transport.settle([done(delivery)])

        assert (await transport.look_up(["1"]))[0].record == b"interim"

    async def test_the_latest_record_replaces_the_one_before(self, harness: Harness) -> None:
        here, there = await harness.connect(), await harness.connect()
        await here.store([record("1", b"first")])
        await there.store([record("1", b"second")])

        assert (await here.look_up(["1"]))[0].record == b"second"

    async def test_a_record_without_a_body_deletes(self, harness: Harness) -> None:
        here, there = await harness.connect(), await harness.connect()
        await here.store([record("1"), record("2")])

        await here.store([record("1", None), record("unknown", None)])

        assert list(await there.look_up(["1"])) == [Standing(Stage.WAITING)]
        assert (await there.look_up(["2"]))[0].record == b"result"

    async def test_a_settlement_can_delete_the_record(self, harness: Harness) -> None:
        transport = await harness.connect()
        (delivery,) = await give(transport, "1")
        await transport.store([record("1", b"interim")])
        settlement = done(delivery)

        await transport.settle([type(settlement)(delivery.receipt, record("1", None))])

        assert (await transport.look_up(["1"]))[0].record is None

    async def test_a_record_is_forgotten_when_its_ttl_is_over(self, harness: Harness) -> None:
        transport = await harness.connect()
        begun = harness.now()
        await transport.store([record("brief", ttl=harness.moment), record("long")])

        found = (await transport.look_up(["brief"]))[0].record
        assert found == b"result" or harness.now() >= begun + harness.moment
        await harness.advance(harness.moment * 1.01)

        standings = await transport.look_up(["brief", "long"])
        assert standings[0] == Standing(Stage.WAITING)
        assert standings[1].record == b"result"

    async def test_a_new_record_brings_a_new_ttl(self, harness: Harness) -> None:
        transport = await harness.connect()
        await transport.store([record("1", b"first", harness.moment)])
        await transport.store([record("1", b"second", TTL)])

        await harness.advance(harness.moment * 1.01)

        assert (await transport.look_up(["1"]))[0].record == b"second"

    async def test_answers_come_in_the_order_of_the_ids(self, harness: Harness) -> None:
        transport = await harness.connect()
        names = [str(number) for number in range(300)]
        await transport.store([record(name, name.encode()) for name in names[::2]])

        standings = await transport.look_up([*reversed(names), "0"])

        bodies = [standing.record for standing in standings]
        expected = [name.encode() if int(name) % 2 == 0 else None for name in reversed(names)]
        assert bodies == [*expected, b"0"]

    async def test_an_empty_body_is_a_record(self, harness: Harness) -> None:
        transport = await harness.connect()

        await transport.store([record("1", b"")])

        assert list(await transport.look_up(["1"])) == [Standing(Stage.RECORDED, b"")]

    async def test_that_of_a_settlement_or_cancellation_has_its_ttl(self, harness: Harness) -> None:
        transport = await harness.connect()
        heard = Heard(harness)
        one, two, three = await give(transport, "1", "2", "3")
        await transport.publish([message("4")])
        brief = [record(str(number), ttl=harness.moment) for number in range(1, 5)]

        await transport.settle(
            [
                Done(one.receipt, brief[0]),
                Retry(two.receipt, message("2", not_before=harness.now() + LATER), brief[1]),
                Dead(three.receipt, dead(three).letter, brief[2]),
            ]
        )
        await transport.cancel([brief[3]])

        await harness.advance(harness.moment * 1.01)
        standings = await transport.look_up(["1", "2", "3", "4"])
        assert [standing.record for standing in standings] == [None] * 4
        await transport.watch(["1", "2", "3", "4"], heard)
        await harness.settle_down()
        assert heard.records == []

    async def test_the_last_one_of_a_batch_counts(self, harness: Harness) -> None:
        transport = await harness.connect()

        await transport.store(
            [
                *(record("1", b"first"), record("1", b"last")),
                *(record("2", b"first"), record("2", None)),
                *(record("3", None), record("3", b"last")),
            ]
        )

        standings = await transport.look_up(["1", "2", "3"])
        assert [standing.record for standing in standings] == [b"last", None, b"last"]

    async def test_a_publication_leaves_it(self, harness: Harness) -> None:
        transport = await harness.connect()
        await transport.store([record("1", b"before")])

        await give(transport, "1")

        assert (await transport.look_up(["1"]))[0].record == b"before"
