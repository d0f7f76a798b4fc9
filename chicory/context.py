"""What a task may know of its own call, and ask for."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType
from typing import NoReturn

from chicory.errors import MaxRetriesExceededError, RetryError
from chicory.progress import Progress, report
from chicory.retry import LONGEST_DELAY, NO_RETRIES, RetryPolicy

_NOTHING: Mapping[str, str] = MappingProxyType({})
_END_OF_TIME = datetime.max.replace(tzinfo=UTC).timestamp()
"""Seconds: no ``datetime`` is that late."""


class FailTask(Exception):  # noqa: N818  (a request, not an error)
    """Raised by ``ctx.fail``: ends the call as failed, whatever its retry policy says."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(str(error))
        self.error = error


class SnoozeTask(Exception):  # noqa: N818  (likewise)
    """Raised by ``ctx.snooze``: the same attempt again, later."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"for {seconds:g} s")
        self.seconds = seconds


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
        "_enqueued",
        "_limit",
        "_reports",
        "_started",
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
        *,
        enqueued_at: float = 0.0,
        started_at: float = 0.0,
        limit: float | None = None,
        reports: Callable[[Progress], None] | None = None,
    ) -> None:
        self.task_id = task_id
        self.task_name = task_name
        self.retries = retries
        self.policy = policy
        self.queue = queue
        self.worker_id = worker_id
        self.headers = headers
        self.cancelled = False
        self._enqueued = enqueued_at
        self._started = started_at
        self._limit = limit
        self._reports = reports

    @property
    def attempts(self) -> int:
        """Attempts made, this one included: 1 at the first one."""
        return self.retries + 1

    @property
    def enqueued_at(self) -> datetime | None:
        """When the call was first published, in UTC; ``None`` where that is not known."""
        return datetime.fromtimestamp(self._enqueued, UTC) if self._enqueued else None

    @property
    def started_at(self) -> datetime:
        """When this attempt began, in UTC."""
        return datetime.fromtimestamp(self._started, UTC)

    @property
    def deadline(self) -> datetime | None:
        """When this attempt's ``timeout`` is over, in UTC; ``None`` where it has none.

        Likewise where that is after the year 9999.
        """
        ends = math.inf if self._limit is None else self._started + self._limit
        return datetime.fromtimestamp(ends, UTC) if ends < _END_OF_TIME else None

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
        if countdown is not None:
            _check(countdown, "countdown")
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

    def snooze(self, seconds: float) -> NoReturn:
        """End this attempt and have it made again after that time: it has not counted.

        The call waits in the broker, not in a worker, and goes to the end of its queue; nothing
        bounds how often. Raises ``ValueError`` where ``seconds`` is negative, or beyond all reason.
        """
        _check(seconds, "seconds")
        raise SnoozeTask(seconds)

    def progress(self, done: float, total: float | None = None, note: str = "") -> None:
        """Report how far the call has come, for ``await handle.progress()``; does not wait.

        The latest report is kept, as long as a result is; in a task that stores no results, none.
        To be called as often as you like, from any thread; what is reported faster than the broker
        stores it is left out.

        Raises ``ValueError`` for amounts below 0, or what is no amount, and a note that is no text.
        """
        latest = report(done, total, note, self.retries)
        if self._reports is not None:
            self._reports(latest)


def current() -> TaskContext:
    """The context of the task that runs here: for code deeper down, also in a task's thread.

    Raises ``RuntimeError`` outside of a task, or in a thread that the task started by itself.
    """
    told = running.get()
    if told is None:
        raise RuntimeError("chicory.current(): no task runs here; call it from within a task")
    return told()


running: ContextVar[Callable[[], TaskContext] | None] = ContextVar("chicory_running", default=None)
"""Gives the context of the task that runs; who runs one sets it, and resets it after."""


def _check(seconds: float, name: str) -> None:
    if not 0 <= seconds <= LONGEST_DELAY:
        raise ValueError(f"{name} must be 0 to {LONGEST_DELAY:.0f} seconds, not {seconds!r}")
