"""The stream and its consumers: made once, compared ever after, never changed."""

from __future__ import annotations

import asyncio
import json
import math
from contextlib import suppress

import anyio
import nats
import pytest
from servers.nats import NatsServer

import chicory_nats.connection
import chicory_nats.exchange
import chicory_nats.queues
from chicory.errors import BrokerConnectionError, ConfigurationError
from chicory.testing.contract.steps import QUEUE, message
from chicory.transport import Accepted, Counts, Publication, TransportSettings
from chicory_nats import NatsTransport
from chicory_nats.address import parse
from chicory_nats.stream import OLDEST, check_server
from chicory_nats.wire import version

_PATIENCE = 60.0


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("2.12.1", (2, 12, 1)), ("2.14.0-RC.3", (2, 14, 0)), ("", ()), ("2.x", (2,))],
)
def test_versions_are_read(text, numbers):
    assert version(text) == numbers


class _Session:
    def __init__(self, url="nats://host", max_payload=1 << 20, **server):
        self.connection = self
        self.server = {"version": "2.12.1", "jetstream": True, **server}
        self.address = parse(url)
        self.max_payload = max_payload


@pytest.mark.parametrize("old", ["2.9.10", "2.11.99", "2.12.0", ""])
def test_an_old_server_is_refused_by_its_version(old):
    with pytest.raises(ConfigurationError) as raised:
        check_server(_Session(version=old))

    assert old in str(raised.value)
    assert ".".join(map(str, OLDEST)) in str(raised.value)


def test_a_server_without_jetstream_is_refused():
    with pytest.raises(ConfigurationError, match="-js"):
        check_server(_Session(jetstream=False))


def test_a_leaf_node_without_jetstream_is_accepted_where_a_domain_is_named():
    check_server(_Session("nats://host?domain=hub", jetstream=False))


def test_a_server_that_takes_no_more_than_what_a_dead_letter_needs_is_refused():
    with pytest.raises(ConfigurationError, match="max_payload is 65536 bytes"):
        check_server(_Session(max_payload=65_536))

    check_server(_Session(max_payload=65_537))


def test_the_oldest_server_is_accepted():
    check_server(_Session())


async def test_opening_again_changes_nothing(connect, server, namespace):
    await connect()
    before = await _configuration(server, namespace)

    await connect()

    assert await _configuration(server, namespace) == before


async def test_a_stream_with_other_settings_is_reported_and_left_alone(connect, server, namespace):
    await connect()
    before = await _configuration(server, namespace)

    with pytest.raises(ConfigurationError) as raised:
        await connect("?storage=memory")

    assert f"CHICORY_{namespace}" in str(raised.value)
    assert "storage='file', not 'memory'" in str(raised.value)
    assert await _configuration(server, namespace) == before


async def test_a_stream_that_would_lose_tasks_is_reported(connect, server, namespace):
    await _ask(
        server,
        f"STREAM.CREATE.CHICORY_{namespace}",
        {"name": f"CHICORY_{namespace}", "subjects": [f"chicory.{namespace}.>"], "max_msgs": 10},
    )

    with pytest.raises(ConfigurationError, match="retention='limits', not 'workqueue'"):
        await connect()


async def test_subjects_that_another_stream_has_are_reported(connect, server, namespace):
    await _ask(
        server, "STREAM.CREATE.OTHER", {"name": "OTHER", "subjects": [f"chicory.{namespace}.>"]}
    )

    with pytest.raises(ConfigurationError, match="overlap"):
        await connect()

    await _ask(server, "STREAM.DELETE.OTHER", {})


async def test_apps_that_disagree_about_the_lease_are_told(connect):
    here, there = await connect(lease=8.0), await connect(lease=5.0)
    await here.publish([Publication("q", "1", b"")])
    await here.fetch(["q"], 1, 0)

    with pytest.raises(ConfigurationError) as raised:
        await there.fetch(["q"], 1, 0)

    assert "8 s" in str(raised.value)
    assert "5 s" in str(raised.value)


async def test_more_replicas_than_servers_is_reported(connect):
    with pytest.raises((ConfigurationError, BrokerConnectionError), match="replicas"):
        await connect("?replicas=3")


async def test_a_server_that_has_no_jetstream_is_reported(tmp_path):
    plain = NatsServer(tmp_path, jetstream=False)
    with plain, pytest.raises(ConfigurationError, match="JetStream is off"):
        await NatsTransport(TransportSettings(url=plain.url)).open()


async def test_a_domain_that_the_server_does_not_know_is_named_in_time(make, monkeypatch):
    for module in (chicory_nats.connection, chicory_nats.exchange):
        monkeypatch.setattr(module, "TIMEOUT", 3.0)

    with anyio.fail_after(_PATIENCE):
        with pytest.raises(BrokerConnectionError, match="no JetStream domain 'foo'"):
            await make("?domain=foo").open()


async def test_a_stream_that_is_deleted_while_it_is_in_use_is_made_again(
    connect, server, namespace, caplog
):
    here, there = await connect(), await connect()
    await here.publish([Publication("q", "lost", b"")])
    assert [one.task_id for one in await there.fetch(["q"], 1, 0)] == ["lost"]
    await _ask(server, f"STREAM.DELETE.CHICORY_{namespace}", {})

    fetched: list[str] = []

    async def fetch() -> None:
        while not fetched:
            with suppress(BrokerConnectionError):  # nobody else has missed the stream so far
                fetched.extend(one.task_id for one in await there.fetch(["q"], 1, math.inf))

    with anyio.fail_after(_PATIENCE):
        async with anyio.create_task_group() as group:
            group.start_soon(fetch)
            assert await here.publish([Publication("q", "kept", b"")]) == [Accepted()]

    assert fetched == ["kept"]
    assert "is made again" in caplog.text


async def test_a_queue_is_known_again_a_while_after_the_stream_was_purged(
    connect, server, namespace, monkeypatch
):
    transport = await connect()
    await transport.publish([message("lost")])
    await _ask(server, f"STREAM.PURGE.CHICORY_{namespace}", {})
    await transport.publish([message("soon")])
    assert dict(await transport.counts()) == {}

    monkeypatch.setattr(chicory_nats.queues, "_SURE", 0.0)
    await transport.publish([message("later")])

    assert dict(await transport.counts()) == {QUEUE: Counts(ready=2)}


async def test_a_queue_that_was_paused_before_the_stream_was_purged_is_said_to_be_paused(
    connect, server, namespace
):
    here, there = await connect(), await connect()
    await here.set_paused(QUEUE, paused=True)
    await _ask(server, f"STREAM.PURGE.CHICORY_{namespace}", {})

    await there.publish([message("1")])

    assert dict(await there.counts()) == {QUEUE: Counts(ready=1, paused=True)}
    await there.set_paused(QUEUE, paused=False)
    assert dict(await there.counts()) == {QUEUE: Counts(ready=1)}


async def _configuration(server, namespace):
    return (await _ask(server, f"STREAM.INFO.CHICORY_{namespace}", {}))["config"]


async def _ask(server, request, body):
    async def ask():
        client = await nats.connect(server.url)
        try:
            answer = await client.request(f"$JS.API.{request}", json.dumps(body).encode())
            return json.loads(answer.data)
        finally:
            await client.close()

    return await anyio.to_thread.run_sync(lambda: asyncio.run(ask()))
