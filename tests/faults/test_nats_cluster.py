"""NATS with three replicas, when servers die while it is in use."""

from __future__ import annotations

import math
from collections import Counter
from contextlib import AsyncExitStack
from uuid import uuid4

import pytest
from anyio import Event, create_task_group, fail_after
from anyio.lowlevel import checkpoint
from anyio.to_thread import run_sync
from servers.nats import NatsCluster

from chicory.errors import BrokerConnectionError
from chicory.testing.contract.steps import count, done, ids, message
from chicory.transport import Counts, Settled, TransportSettings
from chicory_nats import NatsTransport

pytestmark = [pytest.mark.faults, pytest.mark.slow]

_PATIENCE = 120.0
_CALLS = 200


@pytest.fixture
def cluster(tmp_path):
    with NatsCluster(tmp_path) as cluster:
        yield cluster


async def _insist(verb):
    while True:
        try:
            return await verb()
        except BrokerConnectionError:
            await checkpoint()


async def test_servers_killed_one_after_the_other_lose_nothing_and_settle_nothing_twice(cluster):
    settings = TransportSettings(
        url=f"nats://{cluster.hosts}?replicas=3", namespace=uuid4().hex, lease=4.0
    )
    names = [str(number) for number in range(_CALLS)]
    outcomes: Counter[str] = Counter()
    progress = Event()

    async def work(transport) -> None:
        nonlocal progress
        while True:
            found = await _insist(lambda: transport.fetch(["q"], 5, math.inf))
            settlements = [done(one, one.task_id.encode()) for one in found]
            answers = await _insist(lambda s=settlements: transport.settle(s))
            pairs = zip(ids(found), answers, strict=True)
            outcomes.update(name for name, answer in pairs if answer is Settled.SETTLED)
            progress.set()
            progress = Event()

    async def until_recorded(transport, number: int) -> None:
        seen = progress
        while await _recorded(transport, names) < number:
            await seen.wait()
            seen = progress

    with fail_after(_PATIENCE):
        async with AsyncExitStack() as stack:
            connections = []
            for _ in range(3):
                transport = NatsTransport(settings)
                await _insist(transport.open)
                stack.push_async_callback(transport.close)
                connections.append(transport)
            producer, *workers = connections
            async with create_task_group() as group:
                for transport in workers:
                    group.start_soon(work, transport)
                for start in range(0, _CALLS, 20):
                    batch = [message(name) for name in names[start : start + 20]]
                    await _insist(lambda batch=batch: producer.publish(batch))
                    if start in {20, 80, 140}:  # each of them, the leader too
                        server = cluster.servers[start // 60]
                        server.kill()
                        await run_sync(server.start)
                await until_recorded(producer, _CALLS)
                group.cancel_scope.cancel()
            standings = await _insist(lambda: producer.look_up(names))
            left = await _insist(lambda: count(producer))

    assert [standing.record for standing in standings] == [name.encode() for name in names]
    assert max(outcomes.values()) == 1
    assert left == Counts()


async def _recorded(transport, names: list[str]) -> int:
    standings = await _insist(lambda: transport.look_up(names))
    return sum(standing.record is not None for standing in standings)
