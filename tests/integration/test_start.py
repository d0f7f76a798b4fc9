"""A worker that has started is there for everybody to see."""

from __future__ import annotations

import pytest
from anyio import fail_after
from servers.brokers import BROKERS

from chicory import Chicory, Worker

PATIENCE = 60.0


@pytest.mark.parametrize("broker", BROKERS, indirect=True)
async def test_a_worker_is_known_once_it_has_started(broker):
    app = Chicory(broker)
    with fail_after(PATIENCE):
        async with app, Worker(app) as worker:
            listed = await app.backend.get_active_workers()

    assert [one.worker_id for one in listed] == [worker.worker_id]
