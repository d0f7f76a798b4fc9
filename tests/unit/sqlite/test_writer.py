"""What is queued together: done when a transport is closed, and told of an error at once."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest
from anyio import create_task_group, fail_after, to_thread, wait_all_tasks_blocked
from anyio.abc import TaskGroup

from chicory.errors import BrokerConnectionError
from chicory.testing.contract.steps import message
from chicory.transport import TransportSettings
from chicory_sqlite import SQLiteTransport
from chicory_sqlite.session import Session
from chicory_sqlite.writer import _LARGEST_BATCH


async def _keep_busy(transport: SQLiteTransport, group: TaskGroup) -> threading.Event:
    """Have the transport's thread wait for what is returned, so that what comes is queued."""
    begun, gate = threading.Event(), threading.Event()
    group.start_soon(transport._connection.look, lambda _: (begun.set(), gate.wait()))
    await to_thread.run_sync(begun.wait)
    return gate


@pytest.mark.parametrize("more", [-2, -1, 0, 1, _LARGEST_BATCH])
async def test_what_is_queued_is_finished_however_much_it_is(tmp_path: Path, more: int):
    settings = TransportSettings(url=f"sqlite:///{tmp_path / 'queue.db'}")
    number = _LARGEST_BATCH + more

    with fail_after(60):
        async with SQLiteTransport(settings) as transport, create_task_group() as group:
            gate = await _keep_busy(transport, group)
            for index in range(number):
                group.start_soon(transport.publish, [message(str(index))])
            await wait_all_tasks_blocked()
            group.start_soon(transport.close)
            await wait_all_tasks_blocked()
            gate.set()

        async with SQLiteTransport(settings) as transport:
            counts = await transport.counts()
    assert sum(one.ready for one in counts.values()) == number


async def test_a_lock_that_is_held_too_long_is_waited_for_once_by_all(tmp_path: Path, monkeypatch):
    path, begun = tmp_path / "queue.db", list[Session]()
    settings = TransportSettings(url=f"sqlite:///{path}?busy_timeout=0.01")
    begin = Session.begin
    refused: list[str] = []

    def note(session: Session) -> None:
        begun.append(session)
        begin(session)

    async def publish(index: int) -> None:
        with pytest.raises(BrokerConnectionError, match="kept the database locked"):
            await transport.publish([message(str(index))])
        refused.append(str(index))

    with fail_after(60):
        async with SQLiteTransport(settings) as transport:
            monkeypatch.setattr(Session, "begin", note)
            with closing(sqlite3.connect(path, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                async with create_task_group() as group:
                    gate = await _keep_busy(transport, group)
                    for index in range(8):
                        group.start_soon(publish, index)
                    await wait_all_tasks_blocked()
                    gate.set()

    assert len(refused) == 8
    assert len(begun) == 1
