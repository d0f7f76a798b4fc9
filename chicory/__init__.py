"""A distributed task queue for asyncio and trio: one contract on every broker, nothing lost.

The public names; each is imported when it is first used, so that ``import chicory`` is cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chicory.app import Chicory
    from chicory.bulk import BulkError, Refused
    from chicory.config import ChicoryConfig, WorkerConfig
    from chicory.context import TaskContext, current
    from chicory.errors import (
        BackendNotConfiguredError,
        BrokerConnectionError,
        ChicoryError,
        ConfigurationError,
        MaxRetriesExceededError,
        MessageError,
        MessageTooLargeError,
        ProcessDiedError,
        QueueFullError,
        RetryError,
        TaskCancelledError,
        TaskError,
        TaskNotFoundError,
        ValidationError,
    )
    from chicory.handles import Handles
    from chicory.message import TaskMessage
    from chicory.options import TaskOptions
    from chicory.progress import Progress
    from chicory.record import TaskResult
    from chicory.result import AsyncResult
    from chicory.retry import RetryBackoff, RetryPolicy
    from chicory.sender import Call
    from chicory.states import BackendType, BrokerType, DeliveryMode, TaskState, ValidationMode
    from chicory.stats import WorkerStats
    from chicory.task import Task
    from chicory.transport import Cancelled, Priority
    from chicory.worker import Worker

_HOMES = {
    "app": ["Chicory"],
    "bulk": ["BulkError", "Refused"],
    "config": ["ChicoryConfig", "WorkerConfig"],
    "context": ["TaskContext", "current"],
    "errors": [
        "BackendNotConfiguredError",
        "BrokerConnectionError",
        "ChicoryError",
        "ConfigurationError",
        "MaxRetriesExceededError",
        "MessageError",
        "MessageTooLargeError",
        "ProcessDiedError",
        "QueueFullError",
        "RetryError",
        "TaskCancelledError",
        "TaskError",
        "TaskNotFoundError",
        "ValidationError",
    ],
    "handles": ["Handles"],
    "message": ["TaskMessage"],
    "options": ["TaskOptions"],
    "progress": ["Progress"],
    "record": ["TaskResult"],
    "result": ["AsyncResult"],
    "retry": ["RetryBackoff", "RetryPolicy"],
    "sender": ["Call"],
    "states": ["BackendType", "BrokerType", "DeliveryMode", "TaskState", "ValidationMode"],
    "stats": ["WorkerStats"],
    "task": ["Task"],
    "transport": ["Cancelled", "Priority"],
    "worker": ["Worker"],
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "AsyncResult",
    "BackendNotConfiguredError",
    "BackendType",
    "BrokerConnectionError",
    "BrokerType",
    "BulkError",
    "Call",
    "Cancelled",
    "Chicory",
    "ChicoryConfig",
    "ChicoryError",
    "ConfigurationError",
    "DeliveryMode",
    "Handles",
    "MaxRetriesExceededError",
    "MessageError",
    "MessageTooLargeError",
    "Priority",
    "ProcessDiedError",
    "Progress",
    "QueueFullError",
    "Refused",
    "RetryBackoff",
    "RetryError",
    "RetryPolicy",
    "Task",
    "TaskCancelledError",
    "TaskContext",
    "TaskError",
    "TaskMessage",
    "TaskNotFoundError",
    "TaskOptions",
    "TaskResult",
    "TaskState",
    "ValidationError",
    "ValidationMode",
    "Worker",
    "WorkerConfig",
    "WorkerStats",
    "current",
]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version  # noqa: PLC0415  (slow to import, seldom asked)

        return version("chicory")
    if name not in _HOME:
        raise AttributeError(f"module 'chicory' has no attribute {name!r}")
    value = getattr(import_module(f"chicory.{_HOME[name]}"), name)
    globals()[name] = value
    return value
