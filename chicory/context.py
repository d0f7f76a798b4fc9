"""What a task may know of its own call, and ask for."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NoReturn

from chicory.errors import MaxRetriesExceededError, RetryError
from chicory.retry import LONGEST_DELAY, NO_RETRIES, RetryPolicy

_NOTHING: Mapping[str, str] = MappingProxyType({})


class FailTask(Exception):  # noqa: N818  (a request, not an error)
    """Raised by ``ctx.fail``: ends the call as failed, whatever its retry policy says."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(str(error))
        self.error = error


class TaskContext:
    """Handed to a task that has a parameter annotated ``TaskContext``.

    Attributes:
        task_id: identity of the call.
        task_name: name of the task.
        retries: attempts made before this one.
        policy: the retry policy in force.
        queue: where the message came from.
        worker_id: who runs it.
        headers: the notes that travel with the call.
        cancelled: whether this attempt has been stopped: cancelled on request, out of time, or
            given to another worker. Nothing that it still does counts; a plain ``def``, whose
            thread cannot be stopped, should look at this now and then, and return.
    """

    __slots__ = (
        "cancelled",
        "headers",
        "policy",
        "queue",
        "retries",
        "task_id",
        "task_name",
        "worker_id",
    )

    def __init__(
        self,
        task_id: str,
        task_name: str,
        retries: int = 0,
        policy: RetryPolicy = NO_RETRIES,
        queue: str = "default",
        worker_id: str = "",
        headers: Mapping[str, str] = _NOTHING,
    ) -> None:
        self.task_id = task_id
        self.task_name = task_name
        self.retries = retries
        self.policy = policy
        self.queue = queue
        self.worker_id = worker_id
        self.headers = headers
        self.cancelled = False

    @property
    def max_retries(self) -> int:
        """Retries that the policy allows."""
        return self.policy.max_retries

    @property
    def remaining_retries(self) -> int:
        """Retries left after this attempt."""
        return max(0, self.max_retries - self.retries)

    @property
    def is_last_retry(self) -> bool:
        """Whether no attempt follows this one."""
        return self.remaining_retries == 0

    def retry(self, countdown: float | None = None, exc: BaseException | None = None) -> NoReturn:
        """End this attempt and ask for another one.

        Args:
            countdown: seconds until then; ``None`` for the delay of the retry policy.
            exc: why; it becomes the failure's error when no attempt is left.

        Raises:
            RetryError: always; let it pass.
            MaxRetriesExceededError: no attempt is left; uncaught, it ends the call.
            ValueError: ``countdown`` is negative, or beyond all reason.
        """
        if countdown is not None and not 0 <= countdown <= LONGEST_DELAY:
            raise ValueError(
                f"countdown must be 0 to {LONGEST_DELAY:.0f} seconds, not {countdown!r}"
            )
        if self.is_last_retry:
            raise MaxRetriesExceededError(
                f"{self.task_name}: no attempt left after {self.retries} retries", cause=exc
            ) from exc
        raise RetryError(
            f"retry requested by {self.task_name}", countdown=countdown, cause=exc
        ) from exc

    def fail(self, exc: BaseException | str) -> NoReturn:
        """End the call as failed with this error, although attempts may be left."""
        raise FailTask(exc if isinstance(exc, BaseException) else RuntimeError(exc))
