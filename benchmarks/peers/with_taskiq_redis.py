"""taskiq on taskiq-redis: https://taskiq-python.github.io."""
# pyright: basic, reportMissingImports=false

from __future__ import annotations

from taskiq import AsyncBroker
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

from benchmarks.peers.stage import perform
from benchmarks.peers.taskiq_queue import TaskiqQueue


class TaskiqRedis(TaskiqQueue):
    """Redis Streams, which its authors recommend where tasks must be acknowledged."""

    def broker(self) -> AsyncBroker:
        results = RedisAsyncResultBackend(self.url, result_ex_time=3600)
        return RedisStreamBroker(self.url).with_result_backend(results)


if __name__ == "__main__":
    perform(TaskiqRedis)
