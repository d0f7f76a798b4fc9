"""What ``@app.task(...)`` may say about a task."""

from __future__ import annotations

from msgspec import Struct

from chicory.errors import ConfigurationError
from chicory.retry import NO_RETRIES, RetryPolicy
from chicory.states import DeliveryMode, ValidationMode
from chicory.transport import MAX_NAME, Priority


class TaskOptions(Struct, frozen=True, kw_only=True):
    """Settings of one task.

    Attributes:
        name: the task's name; ``None`` for ``module.function``.
        retry_policy: ``None`` for no retries.
        delivery_mode: what a dying worker means for the call.
        ignore_result: store neither results nor failures.
        validation_mode: what is checked against the signature.
        queue: where calls are published.
        priority: level within the queue.
        timeout: seconds an attempt may take; ``None`` for no limit.
        expires: seconds after ``delay`` from which a call is not begun any more.
    """

    name: str | None = None
    retry_policy: RetryPolicy | None = None
    delivery_mode: DeliveryMode = DeliveryMode.AT_LEAST_ONCE
    ignore_result: bool = False
    validation_mode: ValidationMode = ValidationMode.INPUTS
    queue: str = "default"
    priority: Priority = Priority.NORMAL
    timeout: float | None = None
    expires: float | None = None

    def __post_init__(self) -> None:
        for name in ("timeout", "expires"):
            seconds = getattr(self, name)
            if seconds is not None and not seconds > 0:
                raise ConfigurationError(
                    f"@app.task({name}={seconds!r}): must be more than 0 seconds"
                )
        if not 0 < len(self.queue) <= MAX_NAME:
            raise ConfigurationError(
                f"@app.task(queue={self.queue[:40]!r}): a queue name has 1 to {MAX_NAME} characters"
            )

    @property
    def policy(self) -> RetryPolicy:
        """The retry policy in force."""
        return self.retry_policy or NO_RETRIES
