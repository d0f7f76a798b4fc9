"""One attempt at one delivery: what is known of it, from its arrival to its conclusion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import anyio
from anyio import CancelScope, Event
from msgspec import Struct

from chicory import rules
from chicory.context import TaskContext
from chicory.message import Envelope
from chicory.outcome import Ending, Raised
from chicory.retry import NO_RETRIES, RetryPolicy
from chicory.task import Task
from chicory.transport import Delivery
from chicory.worker.quota import Quota


class Attempt(Struct, eq=False):
    """What is known of an attempt so far; each step fills in its part.

    As text it is what log lines call it.

    Attributes:
        delivery: the leased message.
        fetched_at: monotonic seconds.
        labels: what log lines say of it, as far as it is known; see ``chicory.logs``.
        envelope: the message decoded, once it could be.
        name: the task's, as far as it is known.
        task: what it calls, once found.
        args, kwargs: its arguments, once validated.
        context: what the function is told of its call, once it wants to know.
        noticed: whether the function is to know that it has been stopped.
        started_at: epoch seconds of the function's begin, 0 before.
        ending: how it ended; from then on there is nothing left to do but to conclude.
        acknowledged: whether the message was settled before it ran (at most once).
        on_settled: told once its settlement is durable or fenced out, where somebody waits.
        timed: whether its time limit is running.
        scope: what to cancel to stop it, while it runs.
        abort: how it is to end once it is stopped.
        quotas: the limits under which it has a place, from its turn to its conclusion.
        aside_since: monotonic seconds from when on it waits for its turn; 0 where it does not.
        concluded: whether its outcome is decided and on its way; nothing changes it then.
    """

    delivery: Delivery
    fetched_at: float
    labels: dict[str, Any] = {}
    envelope: Envelope | None = None
    name: str = "?"
    task: Task[..., Any] | None = None
    args: Any = ()
    kwargs: dict[str, Any] = {}
    context: TaskContext | None = None
    noticed: bool = False
    started_at: float = 0.0
    ending: Ending | None = None
    acknowledged: bool = False
    on_settled: Event | None = None
    timed: bool = False
    scope: CancelScope | None = None
    abort: Ending | None = None
    quotas: Sequence[Quota] = ()
    aside_since: float = 0.0
    concluded: bool = False

    def __post_init__(self) -> None:
        self.labels["task_id"] = self.delivery.task_id
        self.labels["queue"] = self.delivery.queue

    def __str__(self) -> str:
        return f"task {self.name} ({self.delivery.task_id})"

    @property
    def policy(self) -> RetryPolicy:
        """The retry policy in force: the call's own, or that of its task."""
        if self.envelope is not None and self.envelope.retry_policy is not None:
            return rules.read(self.envelope.retry_policy)
        return self.task.settings.policy if self.task else NO_RETRIES

    @property
    def limit(self) -> float | None:
        """Seconds that it may take, ``None`` for no limit: the call's own, or its task's."""
        if self.envelope is not None and self.envelope.timeout is not None:
            return self.envelope.timeout or None
        return self.task.settings.timeout if self.task else None

    def begin(self, now: float) -> None:
        """Its function begins ``now``, in epoch seconds, and its time limit to run."""
        self.started_at = now
        limit = self.limit
        if limit is not None and self.scope is not None:
            self.timed = True
            self.scope.deadline = anyio.current_time() + limit

    def stop(self, ending: Ending) -> None:
        """Stop it where it runs, or keep it from beginning; it will have ended this way."""
        if self.ending is None:
            self.abort = ending
            self.give_notice()
            if self.scope is not None:
                self.scope.cancel()

    def give_notice(self) -> None:
        """Let the function know that it has been stopped, where it asks."""
        self.noticed = True
        if self.context is not None:
            self.context.cancelled = True


def timed_out(name: str, limit: float | None) -> Raised:
    """The ending of an attempt at this task whose time is up."""
    return Raised(TimeoutError(f"{name} ran longer than its limit of {limit:g} s"))
