"""What ``@app.task(...)`` may say about a task."""

from __future__ import annotations

from typing import Annotated, Any, Optional

from msgspec import Meta, Struct
from msgspec.structs import force_setattr

from chicory.accepted import accept, is_plain
from chicory.errors import ConfigurationError
from chicory.retry import NO_RETRIES, RetryPolicy
from chicory.states import DeliveryMode, ValidationMode
from chicory.transport import MAX_NAME, Priority

_NAME = Meta(min_length=1, max_length=MAX_NAME)
_SECONDS = Meta(gt=0)
_KINDS: dict[str, Any] = {
    "name": Optional[Annotated[str, _NAME]],  # noqa: UP045  (pyright knows no | of Annotated)
    "delivery_mode": DeliveryMode,
    "ignore_result": bool,
    "validation_mode": ValidationMode,
    "queue": Annotated[str, _NAME],
    "priority": Priority,
    "timeout": Optional[Annotated[float, _SECONDS]],  # noqa: UP045
    "expires": Optional[Annotated[float, _SECONDS]],  # noqa: UP045
}
_SHOWN = 40


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
        for name, kind in _KINDS.items():
            value = getattr(self, name)
            shown = repr(value)[:_SHOWN]
            force_setattr(self, name, accept(value, kind, f"@app.task({name}={shown})"))
        for name in ("name", "queue"):
            if not is_plain(getattr(self, name) or ""):
                raise ConfigurationError(
                    f"@app.task({name}={getattr(self, name)!r}): must be without control characters"
                )
        if not isinstance(self.retry_policy, RetryPolicy | None):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigurationError(
                f"@app.task(retry_policy={self.retry_policy!r}): must be a RetryPolicy(...)"
            )

    @property
    def policy(self) -> RetryPolicy:
        """The retry policy in force."""
        return self.retry_policy or NO_RETRIES
