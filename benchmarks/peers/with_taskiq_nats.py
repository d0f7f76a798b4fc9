"""taskiq on taskiq-nats: https://github.com/taskiq-python/taskiq-nats."""
# pyright: basic, reportMissingImports=false

from __future__ import annotations

from taskiq import AsyncBroker
from taskiq_nats import NATSObjectStoreResultBackend, PullBasedJetStreamBroker

from benchmarks.peers.stage import perform
from benchmarks.peers.taskiq_queue import TaskiqQueue


class TaskiqNats(TaskiqQueue):
    """JetStream by pulls of a batch, results in its object store."""

    def broker(self) -> AsyncBroker:
        results = NATSObjectStoreResultBackend(self.url)
        broker = PullBasedJetStreamBroker(self.url, pull_consume_batch=100)
        return broker.with_result_backend(results)


if __name__ == "__main__":
    perform(TaskiqNats)
