"""What is queued when a transport is closed is still done."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from anyio import create_task_group, fail_after, wait_all_tasks_blocked

from chicory.testing.contract.steps import message
from chicory.transport import TransportSettings
from chicory_sqlite import SQLiteTransport
from chicory_sqlite.writer import _LARGEST_BATCH


@pytest.mark.parametrize("more", [-2, -1, 0, 1, _LARGEST_BATCH])
async def test_what_is_queued_is_finished_however_much_it_is(tmp_path: Path, more: int):
    settings = TransportSettings(url=f"sqlite:///{tmp_path / 'queue.db'}")
    number, gate = _LARGEST_BATCH + more, threading.Event()

    with fail_after(60):
        async with SQLiteTransport(settings) as transport, create_task_group() as group:
            connection = transport._connection
            group.start_soon(connection.look, lambda _: gate.wait())
            await wait_all_tasks_blocked()
            for index in range(number):
                group.start_soon(transport.publish, [message(str(index))])
            await wait_all_tasks_blocked()
            group.start_soon(transport.close)
            await wait_all_tasks_blocked()
            gate.set()

        async with SQLiteTransport(settings) as transport:
            counts = await transport.counts()
    assert sum(one.ready for one in counts.values()) == number
