"""The app of the demonstration, and its tasks."""

from __future__ import annotations

from pathlib import Path
from zlib import crc32

from chicory.app import Chicory
from chicory.config import ChicoryConfig
from chicory.context import TaskContext
from chicory.demo.source import FileReport, examine
from chicory.retry import RetryBackoff, RetryPolicy

DATABASE = "sqlite:///chicory-demo.db"
"""The broker, unless the settings name one."""
LOST = "missing_chapter.py"
"""A file that is not there: its task ends as a dead letter."""

_config = ChicoryConfig(namespace="chicory-demo")
app = Chicory(_config.broker.url or DATABASE, config=_config)


@app.task(
    name="demo.read",
    retry_policy=RetryPolicy(max_retries=2, retry_delay=0.2, backoff=RetryBackoff.LINEAR),
)
def read(ctx: TaskContext, path: str) -> FileReport:
    """Report on a file; now and then it fails at first, so that there is something to retry."""
    if ctx.retries < stumbles(path):
        raise ConnectionError(f"{Path(path).name}: the share is busy (made up, for the demo)")
    return examine(path, Path(path).read_bytes(), ctx.retries + 1)


@app.task(name="demo.ping")
async def ping() -> None:
    """Do nothing: what remains is the way there and back."""


def stumbles(path: str) -> int:
    """How often the reading of a file is made to fail: 1 in 25 once, 1 in 125 twice."""
    number = crc32(path.encode())
    return (number % 25 == 0) + (number % 125 == 0)
