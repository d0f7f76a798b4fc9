"""What a batch of settlements says once for all of them, and each one for itself."""

from chicory.testing.contract.steps import count, message, take
from chicory.transport import Counts, Done, Priority, Record, Release, Settled


async def test_each_of_a_batch_is_settled_where_it_is_and_kept_as_long_as_it_says(make, server):
    queues = ["q", "next"]
    async with make() as transport:
        await transport.publish([message("again")])
        await transport.settle([Release(one.receipt) for one in await take(transport)])
        await transport.publish(
            [
                message("low", priority=Priority.LOW),
                message("high", priority=Priority.HIGH),
                message("elsewhere", queue="next"),
                message("like it", queue="next"),
            ]
        )
        deliveries = await take(transport, 10, queues=queues)

        answers = await transport.settle(
            [
                Done(one.receipt, Record(one.task_id, one.task_id.encode(), 100.0 * number))
                for number, one in enumerate(deliveries, 1)
            ]
        )

        assert list(answers) == [Settled.SETTLED] * 5
        for queue in queues:
            assert await count(transport, queue) == Counts()
        for number, one in enumerate(deliveries, 1):
            key = f"{{chicory}}:r:{one.task_id}"
            assert server.command("GET", key) == one.task_id.encode()
            assert 100_000 * (number - 1) < server.command("PTTL", key) <= 100_000 * number
