"""What the server's max_payload forbids is said by name, and is nobody's poison."""

from __future__ import annotations

import anyio
import pytest
from servers.nats import NatsServer

from chicory import Chicory, ChicoryConfig, TaskError, Worker
from chicory.errors import ConfigurationError, MessageTooLargeError
from chicory.testing.contract.steps import done, give, message
from chicory.transport import Settled, TransportSettings
from chicory_nats import NatsTransport

_TOO_MUCH = 1_048_000
"""Bytes: with an envelope less than chicory's limit, and more than the server's."""


async def test_a_result_that_the_server_would_refuse_becomes_a_dead_letter_at_once(
    server, namespace
):
    app = Chicory(server.url, config=ChicoryConfig(namespace=namespace))
    attempts: list[int] = []

    @app.task(name="give")
    async def give(size: int) -> str:
        attempts.append(size)
        return "x" * size

    with anyio.fail_after(60):
        async with app, Worker(app):
            large, small = await give.delay(_TOO_MUCH), await give.delay(900_000)
            assert len(await small.get()) == 900_000
            with pytest.raises(TaskError, match="the limit is 983,040") as raised:
                await large.get()

    assert raised.value.type_name == "unusable-result"
    assert sorted(attempts) == [900_000, _TOO_MUCH]


async def test_a_message_that_the_server_would_refuse_is_refused_before_it_is_sent(
    server, namespace
):
    app = Chicory(server.url, config=ChicoryConfig(namespace=namespace))

    @app.task(name="take")
    async def take(text: str) -> int:
        return len(text)

    async with app:
        with pytest.raises(MessageTooLargeError, match="raise max_payload on the server"):
            await take.delay("x" * _TOO_MUCH)
        await take.delay("x" * 900_000)
        assert await app.broker.get_queue_size() == 1


async def test_a_message_that_is_refused_takes_none_of_those_down_that_are_sent_with_it(
    server, namespace
):
    app = Chicory(server.url, config=ChicoryConfig(namespace=namespace))

    @app.task(name="take")
    async def take(text: str) -> int:
        return len(text)

    refused: list[int] = []

    async def send(size: int) -> None:
        try:
            await take.send("x" * size)
        except MessageTooLargeError:
            refused.append(size)

    async with app, anyio.create_task_group() as group:
        for size in (1, 2, _TOO_MUCH, 3, 4):  # the first goes alone, the others behind it
            group.start_soon(send, size)
    async with app:
        assert await app.broker.get_queue_size() == 4

    assert refused == [_TOO_MUCH]


async def test_more_follow_ups_than_the_server_takes_in_one_step_are_refused_by_name(connect):
    transport = await connect()
    (delivery,) = await give(transport, "1")
    many = [message(f"next {number}") for number in range(1_001)]

    with pytest.raises(MessageTooLargeError, match="batch is too large"):
        await transport.settle([done(delivery, follow_ups=many)])

    assert await transport.settle([done(delivery)]) == [Settled.SETTLED]


async def test_a_server_that_takes_less_than_the_ballast_is_given_less(tmp_path):
    with NatsServer(tmp_path, max_payload=100_000) as server:
        with anyio.fail_after(60):
            async with NatsTransport(TransportSettings(url=server.url)) as transport:
                (delivery,) = await give(transport, "1")
                assert await transport.settle([done(delivery)]) == [Settled.SETTLED]
                session = transport._open.session
                ballast = session.subjects.ballast()
                assert await transport._bridge.run(session.purge, ballast) == 1


async def test_a_server_that_takes_nothing_to_speak_of_is_refused(tmp_path):
    server = NatsServer(tmp_path, max_payload=50_000)
    with server, pytest.raises(ConfigurationError, match="max_payload is 50000 bytes"):
        await NatsTransport(TransportSettings(url=server.url)).open()
