from anyio import create_task_group, fail_after
from anyio.lowlevel import checkpoint

from chicory.supervision.sources import changes


async def test_watching_ends_soon_after_it_is_cancelled(tmp_path):
    async def watch() -> None:
        async for _ in changes(tmp_path):
            pass

    with fail_after(3):
        async with create_task_group() as group:
            group.start_soon(watch)
            for _ in range(20):
                await checkpoint()
            group.cancel_scope.cancel()
