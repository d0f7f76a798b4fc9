"""How long the server keeps results."""

import pytest

from chicory import Chicory, ChicoryConfig, Worker
from chicory.config import BackendConfig, RedisBackendConfig


@pytest.mark.parametrize(
    ("backend", "seconds"),
    [
        (BackendConfig(result_ttl=70), 70),
        (BackendConfig(result_ttl=70, redis=RedisBackendConfig(result_ttl=50)), 50),
    ],
    ids=["as everywhere", "as on Redis"],
)
async def test_results_are_kept_as_long_as_the_settings_say(server, backend, seconds):
    app = Chicory(server.url, config=ChicoryConfig(backend=backend))

    @app.task(name="task")
    async def task() -> None: ...

    async with app, Worker(app):
        by_worker = await task.delay()
        await by_worker.get(timeout=60)
        stored = await app.backend.get_result(by_worker.task_id)
        assert stored is not None
        await app.backend.store_result("by hand", stored)

    for task_id in (by_worker.task_id, "by hand"):
        left = server.command("PTTL", f"{{chicory}}:r:{task_id}")
        assert (seconds - 30) * 1000 < left <= seconds * 1000
