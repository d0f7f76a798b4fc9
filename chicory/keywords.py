"""The keyword arguments of ``app.task(...)`` and ``task.options(...)``, for type checkers.

What they mean, and what is accepted, stands in ``chicory.options``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Generic, ParamSpec, TypedDict

from chicory.options import Executor
from chicory.retry import RetryPolicy
from chicory.states import DeliveryMode, ValidationMode
from chicory.transport import Priority

P = ParamSpec("P")


class SharedKeywords(TypedDict, Generic[P], total=False):
    """What may be said of a task, and of one call of it, whose parameters are ``P``."""

    queue: str
    priority: Priority | int
    delay: float | None
    expires: float | None
    unique: str | Callable[P, str | None] | None
    unique_ttl: float | None
    headers: Mapping[str, str] | None
    timeout: float | None
    retry_policy: RetryPolicy | None


class CallKeywords(SharedKeywords[P], total=False):
    """What may be said of one call; see ``CallOptions``."""

    eta: datetime | None


class TaskKeywords(SharedKeywords[...], total=False):
    """What may be said of a task; see ``TaskOptions``."""

    name: str | None
    ignore_result: bool
    validation_mode: ValidationMode | None
    delivery_mode: DeliveryMode | None
    executor: Executor | None
    max_concurrency: int | None
    max_memory: int | None
