"""The closed sets of words: states, modes, and the brokers that have a name."""

from __future__ import annotations

from enum import StrEnum


class TaskState(StrEnum):
    """Where a call stands. The last four are final."""

    PENDING = "PENDING"
    STARTED = "STARTED"
    RETRY = "RETRY"
    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    DEAD_LETTERED = "DEAD_LETTERED"
    CANCELLED = "CANCELLED"

    @property
    def final(self) -> bool:
        """Whether nothing more will happen to the call."""
        return self in _FINAL

    @property
    def failed(self) -> bool:
        """Whether the call came to an end without a result."""
        return self in _FINAL and self is not TaskState.SUCCESS


_FINAL = frozenset(
    {TaskState.SUCCESS, TaskState.FAILURE, TaskState.DEAD_LETTERED, TaskState.CANCELLED}
)


class DeliveryMode(StrEnum):
    """What happens to a call whose worker dies.

    ``AT_LEAST_ONCE``: it runs again elsewhere. ``AT_MOST_ONCE``: it was settled before it began
    and does not run again; a failure that the attempt itself reported may still be retried.
    """

    AT_LEAST_ONCE = "at_least_once"
    AT_MOST_ONCE = "at_most_once"


class ValidationMode(StrEnum):
    """What is checked against the task's signature.

    ``INPUTS``: arguments, at ``delay`` and in the worker. ``OUTPUTS``: the return value, in the
    worker. ``STRICT``: both. ``NONE``: nothing at ``delay``; the worker still decodes arguments
    to their annotated types.
    """

    NONE = "none"
    INPUTS = "inputs"
    OUTPUTS = "outputs"
    STRICT = "strict"

    @property
    def inputs(self) -> bool:
        """Whether arguments are checked at ``delay``."""
        return self is ValidationMode.INPUTS or self is ValidationMode.STRICT

    @property
    def outputs(self) -> bool:
        """Whether return values are checked."""
        return self is ValidationMode.OUTPUTS or self is ValidationMode.STRICT


class BrokerType(StrEnum):
    """A broker by name; its address comes from ``ChicoryConfig``."""

    SQLITE = "sqlite"
    MEMORY = "memory"
    REDIS = "redis"
    NATS = "nats"


class BackendType(StrEnum):
    """A result backend by name; its address comes from ``ChicoryConfig``."""

    SQLITE = "sqlite"
    MEMORY = "memory"
    REDIS = "redis"
    NATS = "nats"
