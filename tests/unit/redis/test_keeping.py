"""What the server keeps of results, and how long, and of workers."""

import pytest

from chicory import Chicory, ChicoryConfig, Worker
from chicory.config import BackendConfig, RedisBackendConfig
from chicory.transport import WorkerRecord


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


async def test_all_workers_are_read_in_one_trip(make):
    async with make() as transport:
        for name in ("w2", "w1"):
            await transport.beat(WorkerRecord(name, (), b""), 10)
        await transport.workers()  # the server has the script from then on
        calls = transport.calls

        assert [worker.worker_id for worker in await transport.workers()] == ["w1", "w2"]
        assert transport.calls == calls + 1
