"""The settings of a worker process."""

from __future__ import annotations

import os
from typing import ClassVar

from chicory.config.kinds import (
    AtOnce,
    FreePort,
    LogLevel,
    Name,
    PositiveInt,
    PositiveSeconds,
    Seconds,
)
from chicory.environment import Section, setting
from chicory.errors import ConfigurationError
from chicory.logs import LogFormat

DEFAULT_PROCESSES = os.cpu_count() or 1
DEFAULT_CONCURRENCY = min(32, DEFAULT_PROCESSES + 4)


class WorkerConfig(Section, kw_only=True):
    """Settings of a worker process; ``CHICORY_WORKER_<FIELD>``.

    Attributes:
        concurrency: tasks that run at once.
        queue: the queue consumed.
        use_dead_letter_queue: keep exhausted calls as dead letters. What cannot be run at all
            is kept always.
        heartbeat_interval: seconds between heartbeats.
        heartbeat_ttl: seconds after which a silent worker counts as dead.
        shutdown_timeout: seconds that running tasks get to finish.
        log_level: of what ``chicory worker`` logs on stderr.
        log_format: of its lines: for people, or one JSON object each.
        health_port: where ``/live``, ``/ready`` and ``/metrics`` are served; 0 for any free port.
        health_host: the address to serve them on; ``0.0.0.0`` for all, as in a container.
        max_crashes: deliveries that may end with the death of their worker.
        blocked_loop_warning: seconds; a task that blocks the event loop for longer is reported
            with its stack.
        blocked_loop_limit: seconds; a worker blocked for longer gives up its leases.
        max_tasks: tasks after which a worker process ends; under a supervisor a new one follows.
        max_memory: MiB of resident memory, likewise.
        threads: tasks that run at once in threads; as many as ``concurrency`` where none is set.
        processes: tasks that run at once in processes of their own.
        max_process_memory: MiB of resident memory that such a process may have, where its task
            sets no limit of its own.
    """

    prefix: ClassVar[str] = "WORKER"

    concurrency: AtOnce = setting(DEFAULT_CONCURRENCY, said="min(32, CPUs + 4)")
    queue: Name = setting("default")
    use_dead_letter_queue: bool = setting(default=True)
    heartbeat_interval: PositiveSeconds = setting(10.0)
    heartbeat_ttl: PositiveSeconds = setting(30.0)
    shutdown_timeout: Seconds = setting(30.0)
    log_level: LogLevel = setting("INFO")
    log_format: LogFormat = setting("text")
    health_port: FreePort | None = setting(None)
    health_host: Name = setting("127.0.0.1")
    max_crashes: PositiveInt = setting(3)
    blocked_loop_warning: PositiveSeconds = setting(1.0)
    blocked_loop_limit: PositiveSeconds = setting(300.0)
    max_tasks: PositiveInt | None = setting(None)
    max_memory: PositiveInt | None = setting(None)
    threads: PositiveInt | None = setting(None)
    processes: PositiveInt = setting(DEFAULT_PROCESSES, said="CPUs")
    max_process_memory: PositiveInt | None = setting(None)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.heartbeat_ttl <= self.heartbeat_interval:
            raise ConfigurationError(
                f"heartbeat_ttl ({self.heartbeat_ttl:g} s, CHICORY_WORKER_HEARTBEAT_TTL) must be "
                f"more than heartbeat_interval ({self.heartbeat_interval:g} s, "
                "CHICORY_WORKER_HEARTBEAT_INTERVAL)"
            )
