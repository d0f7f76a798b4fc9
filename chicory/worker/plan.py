"""What a worker is made from, and where one run of it does its work."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from anyio.abc import TaskGroup
from msgspec import Struct

from chicory.answers import Opening
from chicory.app import Chicory
from chicory.config import WorkerConfig
from chicory.transport import Transport
from chicory.worker.farewell import Farewell
from chicory.worker.rota import Rota
from chicory.worker.watchdog import Watchdog


class Plan(Struct, frozen=True):
    """What every run of a worker is made from; see ``Worker``."""

    app: Chicory
    config: WorkerConfig
    rota: Rota
    burst: bool
    in_place: bool
    endpoint: Opening | None
    watchdog: Watchdog | None

    @property
    def apart(self) -> Mapping[str, str]:
        """The tasks that run in processes of their own, and the modules of their functions."""
        return {
            name: task.function.__module__
            for name, task in self.app.tasks.items()
            if task.executor == "process" and not self.in_place
        }


class Post(Struct, frozen=True):
    """Where one run of a worker does its work: what its parts are made from.

    Attributes:
        plan: the worker's.
        worker_id: the run's.
        transports: open: the broker's, and the backend's where that is another server.
        group: where what works in the background runs.
        farewell: how long to wait for a broker once the worker ends.
    """

    plan: Plan
    worker_id: str
    transports: Sequence[Transport]
    group: TaskGroup
    farewell: Farewell

    @property
    def app(self) -> Chicory:
        """Whose tasks are run."""
        return self.plan.app

    @property
    def config(self) -> WorkerConfig:
        """The settings."""
        return self.plan.config

    @property
    def now(self) -> Callable[[], float]:
        """The app's time."""
        return self.plan.app.clock.now

    @property
    def stores(self) -> bool:
        """Whether results are stored."""
        return self.plan.app.backend_link is not None

    @property
    def results(self) -> Transport | None:
        """Where they are, if that is another server."""
        return self.transports[1] if len(self.transports) > 1 else None

    @property
    def max_size(self) -> int:
        """Bytes that a message or a record may have."""
        limits = [transport.abilities.max_size for transport in self.transports]
        return min(self.plan.app.config.max_message_size, *limits)
