"""Where the queue of one measurement is: a place that nobody has used before."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import server
from benchmarks.server import Place
from benchmarks.variant import Broker


@contextmanager
def fresh(broker: Broker) -> Generator[Place]:
    """An empty database, or a server that has just been started, while it runs."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        match broker:
            case "memory":
                yield Place("memory://benchmark")  # shared by the errands of one process
            case "sqlite":
                yield Place(f"sqlite:///{folder / 'queue.db'}")
            case "redis":
                yield stack.enter_context(server.redis(folder))
            case "nats":
                yield stack.enter_context(server.nats(folder))
