"""One attempt at one delivery, and the steps of its life: prepare, perform, conclude."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import anyio
from anyio import CancelScope, CapacityLimiter, Event, to_thread

from chicory import message as messages
from chicory import rules
from chicory.config import WorkerConfig
from chicory.context import TaskContext, running
from chicory.errors import (
    ConfigurationError,
    MessageError,
    MessageSignatureError,
    MessageVersionError,
    ValidationError,
)
from chicory.message import Envelope
from chicory.outcome import (
    DeathReason,
    Ending,
    Expired,
    Raised,
    Refused,
    Returned,
    crashed,
)
from chicory.progress import Progress
from chicory.retry import NO_RETRIES, RetryPolicy
from chicory.seal import Seal
from chicory.task import Task
from chicory.transport import Delivery


class Attempt:
    """What is known of an attempt so far; each step fills in its part.

    Attributes:
        delivery: the leased message.
        fetched_at: monotonic seconds.
        labels: what log lines say of it, as far as it is known; see ``chicory.logs``.
        envelope: the message decoded, once it could be.
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
        concluded: whether its outcome is decided and on its way; nothing changes it then.
    """

    __slots__ = (
        "abort",
        "acknowledged",
        "args",
        "concluded",
        "context",
        "delivery",
        "ending",
        "envelope",
        "fetched_at",
        "kwargs",
        "labels",
        "noticed",
        "on_settled",
        "scope",
        "started_at",
        "task",
        "timed",
    )

    def __init__(self, delivery: Delivery, fetched_at: float) -> None:
        self.delivery = delivery
        self.fetched_at = fetched_at
        self.labels: dict[str, Any] = {"task_id": delivery.task_id, "queue": delivery.queue}
        self.envelope: Envelope | None = None
        self.task: Task[..., Any] | None = None
        self.args: Any = ()
        self.kwargs: dict[str, Any] = {}
        self.context: TaskContext | None = None
        self.noticed = False
        self.started_at = 0.0
        self.ending: Ending | None = None
        self.acknowledged = False
        self.on_settled: Event | None = None
        self.timed = False
        self.scope: CancelScope | None = None
        self.abort: Ending | None = None
        self.concluded = False

    @property
    def name(self) -> str:
        """The task's name, as far as it is known."""
        return self.envelope.name if self.envelope else "?"

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


class Executor:
    """Takes attempts through prepare and perform; decides nothing about what follows."""

    def __init__(
        self,
        tasks: Mapping[str, Task[..., Any]],
        worker_id: str,
        config: WorkerConfig,
        now: Callable[[], float],
        seal: Seal,
        report: Callable[[str, Progress], None] | None = None,
    ) -> None:
        self._report = report
        self._tasks = tasks
        self._seal = seal
        self._worker_id = worker_id
        self._max_crashes = config.max_crashes
        self._now = now
        # slots are the limit; a thread that outlives its call must not keep later calls waiting
        self._threads = CapacityLimiter(math.inf)
        self._steps = (
            self._decode,
            self._count_crashes,
            self._expire,
            self._look_up,
            self._bind,
        )

    def prepare(self, attempt: Attempt) -> None:
        """Decode, look up, validate; or end the attempt with the reason why it cannot run."""
        if attempt.abort is not None:
            self._decode(attempt)
            self._look_up(attempt)
            attempt.ending = attempt.abort
            return
        for step in self._steps:
            step(attempt)
            if attempt.ending is not None:
                return

    def _decode(self, attempt: Attempt) -> None:
        try:
            envelope = attempt.envelope = self._read(attempt.delivery)
        except MessageSignatureError as error:
            attempt.ending = Refused(DeathReason.BAD_SIGNATURE, str(error))
        except MessageVersionError as error:
            attempt.ending = Refused(DeathReason.NEWER_VERSION, str(error))
        except MessageError as error:
            attempt.ending = Refused(DeathReason.UNDECODABLE, str(error))
        else:
            attempt.labels["task"] = envelope.name
            attempt.labels["attempt"] = envelope.retries + 1

    def _read(self, delivery: Delivery) -> Envelope:
        envelope = messages.decode(self._seal.open(delivery.body))
        if envelope.id != delivery.task_id and self._seal.vouches_for(delivery.body):
            raise MessageSignatureError(f"signed as the call {envelope.id!r}, not as this one")
        return envelope

    def _count_crashes(self, attempt: Attempt) -> None:
        if crashed(attempt.delivery.deliveries, self._max_crashes):
            attempt.ending = Refused(
                DeathReason.CRASHED,
                f"{attempt.name}: its worker died, or lost its lease, "
                f"{attempt.delivery.deliveries - 1} times while it held this message",
            )

    def _expire(self, attempt: Attempt) -> None:
        assert attempt.envelope is not None
        expires_at = attempt.envelope.expires_at
        if expires_at is not None and self._now() > expires_at:
            attempt.ending = Expired()

    def _look_up(self, attempt: Attempt) -> None:
        attempt.task = self._tasks.get(attempt.name)
        if attempt.task is None:
            attempt.ending = Refused(
                DeathReason.UNKNOWN_TASK,
                f"no task is named {attempt.name!r} in this worker: deploy it, then replay",
            )

    def _bind(self, attempt: Attempt) -> None:
        assert attempt.envelope is not None
        assert attempt.task is not None
        try:
            signature = attempt.task.signature
            args, kwargs = signature.decode(attempt.envelope.args, attempt.envelope.kwargs)
        except (ValidationError, ConfigurationError) as error:
            attempt.ending = Refused(DeathReason.INVALID_ARGUMENTS, str(error))
            return
        attempt.args, attempt.kwargs = args, kwargs

    def _context(self, attempt: Attempt) -> TaskContext:
        """What the function is told; made when it is first asked for, seldom by most tasks."""
        if attempt.context is None:
            assert attempt.envelope is not None
            attempt.context = TaskContext(
                attempt.envelope.id,
                attempt.envelope.name,
                attempt.envelope.retries,
                attempt.policy,
                attempt.delivery.queue,
                self._worker_id,
                attempt.envelope.headers,
                enqueued_at=attempt.envelope.enqueued_at,
                started_at=attempt.started_at,
                limit=attempt.limit,
                reports=self._reports(attempt),
            )
            attempt.context.cancelled = attempt.noticed
        return attempt.context

    def _reports(self, attempt: Attempt) -> Callable[[Progress], None] | None:
        assert attempt.task is not None
        if self._report is None or attempt.task.settings.ignore_result:
            return None
        return partial(self._report, attempt.delivery.task_id)

    async def perform(self, attempt: Attempt) -> None:
        """Run the function. Only a cancellation leaves this; every error becomes the ending."""
        task = attempt.task
        assert task is not None
        if attempt.abort is not None:
            attempt.ending = attempt.abort
            return
        attempt.started_at = self._now()
        limit = attempt.limit
        if limit is not None and attempt.scope is not None:
            attempt.timed = True
            attempt.scope.deadline = anyio.current_time() + limit
        told = partial(self._context, attempt)
        if task.signature.wants_context:
            attempt.args, attempt.kwargs = task.signature.inject(
                told(), attempt.args, attempt.kwargs
            )
        token = running.set(told)
        try:
            if task.is_async:
                value = await task.function(*attempt.args, **attempt.kwargs)
            else:
                call = partial(task.function, *attempt.args, **attempt.kwargs)
                value = await to_thread.run_sync(
                    _outcome, call, abandon_on_cancel=True, limiter=self._threads
                )
                if isinstance(value, Raised):
                    attempt.ending = value
                    return
        except (Exception, SystemExit, KeyboardInterrupt) as error:  # noqa: BLE001  (the user's code)
            attempt.ending = Raised(error)
        else:
            attempt.ending = self._result(task, value)
        finally:
            running.reset(token)
            if attempt.ending is None:  # a thread goes on although its call is over
                attempt.give_notice()

    def _result(self, task: Task[..., Any], value: Any) -> Ending:
        outputs = task.settings.validation_mode.outputs
        try:
            return Returned(task.signature.encode_result(value, check=outputs))
        except ValidationError as error:
            return Refused(DeathReason.UNUSABLE_RESULT, str(error))


def _outcome(call: Callable[[], Any]) -> Any:
    """What it returns, or ``Raised``: on its way out of a thread an error may do other things.

    A ``GeneratorExit`` would close the coroutine that waits, and its callers.
    """
    try:
        return call()
    except BaseException as error:  # noqa: BLE001  (the user's code)
        return Raised(error)


def timed_out(attempt: Attempt) -> Raised:
    """The ending of an attempt whose time is up."""
    return Raised(TimeoutError(f"{attempt.name} ran longer than its limit of {attempt.limit:g} s"))
