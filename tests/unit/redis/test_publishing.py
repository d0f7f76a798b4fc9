"""A message that is sent alone: at once, in the task of its sender, and never twice."""

import asyncio

import pytest
from anyio import create_task_group, fail_after
from redis.exceptions import ResponseError

from chicory.testing.contract.steps import QUEUE, count, done, message, take
from chicory.transport import Accepted, Counts, Duplicate
from chicory_redis.publishing import encode
from chicory_redis.translation import Lost


@pytest.fixture
def kept(server):
    def kept() -> dict[str, object]:
        """What the server keeps of messages, but for the ids of entries."""
        index = {key: server.command("HGETALL", key) for key in server.command("KEYS", "*:m:*")}
        return {
            "live": sorted((key, *part) for key, part in index.items()),
            "places": [
                place.partition(b" ")[2] for part in index.values() for place in part.values()
            ],
            "fields": [
                fields for _, fields in server.command("XRANGE", "{chicory}:s:1:q", "-", "+")
            ],
            "queues": server.command("SMEMBERS", "{chicory}:q"),
            "expires": server.command("PTTL", "{chicory}:s:1:q") >= 0,
        }

    return kept


async def test_a_message_that_comes_alone_is_kept_as_one_of_many(make, server, kept):
    async with make() as transport:
        for _ in range(2):  # the second time, the stream is one that was emptied
            assert await transport.publish([message("1")]) == [Accepted()]
            alone = kept()
            await transport.settle([done(one) for one in await take(transport)])
            await transport.publish([message("1"), message("2")])
            many = kept()
            await transport.settle([done(one) for one in await take(transport, 2)])

            assert alone["live"] == many["live"][:1] == [(b"{chicory}:m:1", b"1")]
            assert alone["places"] == many["places"][:1] == [QUEUE.encode()]
            assert alone["fields"] == many["fields"][:1]
            assert alone["queues"] == many["queues"]
            assert alone["expires"] == many["expires"] is False


async def test_a_message_that_comes_alone_is_live_once(make):
    async with make() as transport:
        assert await transport.publish([message("1")]) == [Accepted()]
        assert await transport.publish([message("1")]) == [Duplicate("1")]
        assert await count(transport) == Counts(ready=1)


async def test_what_is_published_again_for_its_answer_gets_the_answer_it_got(make):
    async with make() as transport:
        arguments = encode(message("1"))
        attempt = transport._client._server.attempt
        for again in (0, 1):
            answers = await transport._bridge.run(attempt, "publish", "memo", 7, again, *arguments)
            assert answers == [b""]
            assert await count(transport) == Counts(ready=1 - again)
            await transport.settle([done(one) for one in await take(transport)])


async def test_a_server_that_takes_no_writes_does_not_repeat_an_answer_either(make, own_server):
    """It may have carried out, when it came to, what was sent before another one replaced it."""
    async with make(url=own_server.url) as transport:
        attempt = transport._client._server.attempt
        call = ("publish", "memo", 7)
        await transport._bridge.run(attempt, *call, 0, *encode(message("1")))
        own_server.command("CONFIG", "SET", "min-replicas-to-write", "1")

        with pytest.raises(ResponseError, match="NOREPLICAS"):
            await transport._bridge.run(attempt, *call, 1, *encode(message("1")))

        own_server.command("CONFIG", "SET", "min-replicas-to-write", "0")
        assert await transport._bridge.run(attempt, *call, 1, *encode(message("1"))) == [b""]


async def test_a_sender_who_is_cancelled_has_published_when_he_hears_of_it(make):
    async with make() as transport:
        turns = await transport._bridge.run(_publish_and_be_cancelled, transport._client)

        assert turns == [(1, 0), (1, 1)]
        assert await count(transport) == Counts(ready=1)
        assert await transport.publish([message("2")]) == [Accepted()]


async def _publish_and_be_cancelled(client) -> list[tuple[int, int]]:
    """On the loop of the client: cancelled when the server has done it, before that is known."""
    attempt, sent = client._server.attempt, asyncio.Event()
    turns: list[tuple[int, int]] = []

    async def slow(name, memo, turn, again, *args, **options):
        turns.append((turn, again))
        answers = await attempt(name, memo, turn, again, *args, **options)
        if not again:
            sent.set()
            await asyncio.Event().wait()
        return answers

    client._server.attempt = slow
    sender = asyncio.create_task(client.publish([message("1")]))
    await sent.wait()
    sender.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sender
    client._server.attempt = attempt
    return turns


async def test_two_calls_whose_answers_are_lost_get_each_its_own(make):
    async with make() as transport:
        await transport._bridge.run(_lose_the_first_answers, transport._client)
        outcomes: dict[str, object] = {}

        async def publish(name: str) -> None:
            (outcomes[name],) = await transport.publish([message(name)])

        with fail_after(60):
            async with create_task_group() as group:
                group.start_soon(publish, "1")
                group.start_soon(publish, "2")

        assert outcomes == {"1": Accepted(), "2": Accepted()}
        assert await count(transport) == Counts(ready=2)


async def _lose_the_first_answers(client) -> None:
    """Both calls are executed before either hears that the connection is gone."""
    attempt, executed = client._server.attempt, asyncio.Barrier(2)

    async def lossy(name, *args, **options):
        answers = await attempt(name, *args, **options)
        if name == "publish" and args[2] == 0:  # not sent again
            await executed.wait()
            raise Lost(ConnectionError("cut"))
        return answers

    client._server.attempt = lossy
