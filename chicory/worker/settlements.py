"""From an attempt that ended to the settlement that makes its outcome durable. No I/O."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from chicory import cancellation, record
from chicory import message as messages
from chicory.message import Envelope, PastFailure
from chicory.outcome import (
    Bury,
    Cancel,
    DeathReason,
    Fail,
    Failure,
    GiveBack,
    Postpone,
    RetryIn,
    Returned,
    Succeed,
    Terms,
    Verdict,
    decide,
    too_large,
)
from chicory.record import StoredResult
from chicory.retry import NO_RETRIES
from chicory.seal import Seal
from chicory.states import TaskState
from chicory.transport import (
    Dead,
    DeadLetter,
    Done,
    Publication,
    Record,
    Release,
    Retry,
    Settlement,
)
from chicory.worker.attempt import Attempt
from chicory.worker.plan import Post

_ANY_TERMS = Terms(0, NO_RETRIES, dead_letters=False)


class Clerk:
    """Writes settlements for one run of a worker."""

    def __init__(self, post: Post) -> None:
        self._worker_id = post.worker_id
        self._dead_letters = post.config.use_dead_letter_queue
        self._stores = post.stores
        self._result_ttl = post.app.result_ttl
        self._max_size = post.max_size
        self._seal = post.app.seal

    def conclude(self, attempt: Attempt, now: float) -> tuple[Verdict, Settlement]:
        """What the attempt came to, and the step that settles it; ``now`` in epoch seconds."""
        ending = attempt.ending
        assert ending is not None
        # on what terms matters only where something went wrong
        terms = _ANY_TERMS if isinstance(ending, Returned) else self._terms(attempt, now)
        verdict = decide(ending, terms)
        if attempt.acknowledged and isinstance(verdict, GiveBack):
            verdict = Fail(Failure("stopped", "its worker stopped; it runs at most once"))
        body = self._record(attempt, verdict, now)
        if isinstance(verdict, Succeed) and body is not None and len(body) > self._max_size:
            verdict = self._too_large(attempt, len(body))
            body = self._record(attempt, verdict, now)
        if attempt.acknowledged and isinstance(verdict, Bury):  # it has left nothing to keep
            verdict = Fail(verdict.failure)
            body = self._record(attempt, verdict, now)
        return verdict, self._settlement(attempt, verdict, self._stored(attempt, body), now)

    def _terms(self, attempt: Attempt, now: float) -> Terms:
        envelope = attempt.envelope
        first = envelope.first_failure_at if envelope else None
        return Terms(
            envelope.retries if envelope else 0,
            attempt.policy,
            self._dead_letters,
            max(0.0, now - first.timestamp()) if first else 0.0,
        )

    def _too_large(self, attempt: Attempt, size: int) -> Verdict:
        failure = Failure(
            DeathReason.UNUSABLE_RESULT.value,
            too_large(attempt.name, size, self._max_size),
        )
        return Bury(DeathReason.UNUSABLE_RESULT, failure)

    def _stored(self, attempt: Attempt, body: bytes | None) -> Record | None:
        return Record(attempt.delivery.task_id, body, self._result_ttl) if body else None

    def _record(self, attempt: Attempt, verdict: Verdict, now: float) -> bytes | None:
        if not self._stores or (attempt.task and attempt.task.settings.ignore_result):
            return None
        state, failure = _state(verdict)
        if state is None:
            return None
        stored = StoredResult(
            task_id=attempt.delivery.task_id,
            state=state,
            name=attempt.name,
            retries=attempt.envelope.retries if attempt.envelope else 0,
            started_at=attempt.started_at,
            finished_at=now,
            worker_id=self._worker_id,
        )
        if isinstance(verdict, Succeed):
            stored.result = verdict.value
        if failure is not None:
            stored.error_type, stored.error = failure.type_name, failure.message
            stored.traceback = failure.traceback
        return record.encode(stored)

    def _settlement(
        self, attempt: Attempt, verdict: Verdict, stored: Record | None, now: float
    ) -> Settlement:
        receipt = attempt.delivery.receipt
        match verdict:
            case Succeed() | Fail() | Cancel():
                return Done(receipt, stored)
            case RetryIn(delay=delay, failure=failure):
                again = next_attempt(attempt, delay, failure, now, self._max_size, self._seal)
                return Retry(receipt, again, stored)
            case Postpone(delay=delay):
                return Retry(receipt, _same_attempt(attempt, delay, now))
            case Bury(reason=reason, failure=failure):
                return Dead(receipt, _letter(attempt, reason, failure, now), stored)
            case GiveBack(not_before=not_before):
                return Release(receipt, not_before)


def _state(verdict: Verdict) -> tuple[TaskState | None, Failure | None]:
    match verdict:
        case Succeed():
            return TaskState.SUCCESS, None
        case RetryIn(failure=failure):
            return TaskState.RETRY, failure
        case Fail(failure=failure):
            return TaskState.FAILURE, failure
        case Bury(failure=failure):
            return TaskState.DEAD_LETTERED, failure
        case Cancel():
            return TaskState.CANCELLED, Failure(*cancellation.WHY)
        case GiveBack() | Postpone():
            return None, None


def next_attempt(
    attempt: Attempt, delay: float, failure: Failure, now: float, max_size: int, seal: Seal
) -> Publication:
    """The message of the attempt that follows: same id, same queue, one retry more.

    Where the failures would make it larger than ``max_size`` it does not remember them.
    """
    assert attempt.envelope is not None
    following: Envelope = msgspec.structs.replace(
        attempt.envelope,
        retries=attempt.envelope.retries + 1,
        first_failure_at=attempt.envelope.first_failure_at or datetime.fromtimestamp(now, UTC),
        last_error=failure.message,
        failures=messages.remember(
            attempt.envelope.failures, PastFailure(now, failure.type_name, failure.message)
        ),
    )
    body = seal.close(messages.encode(following))
    if len(body) > max_size:
        following.failures = []
        body = seal.close(messages.encode(following))
    return _again(attempt, body, delay, now)


def _same_attempt(attempt: Attempt, delay: float, now: float) -> Publication:
    return _again(attempt, attempt.delivery.body, delay, now)


def _again(attempt: Attempt, body: bytes, delay: float, now: float) -> Publication:
    delivery = attempt.delivery
    due = now + delay if delay else 0.0
    return Publication(delivery.queue, delivery.task_id, body, delivery.priority, due)


def without_retry(retry: Retry) -> Done:
    """The same end of an attempt where no other one follows: the call has failed."""
    if retry.record is None or retry.record.body is None:
        return Done(retry.receipt)
    stored = record.decode(retry.record.body)
    stored.state = TaskState.FAILURE
    return Done(retry.receipt, msgspec.structs.replace(retry.record, body=record.encode(stored)))


def _letter(attempt: Attempt, reason: DeathReason, failure: Failure, now: float) -> DeadLetter:
    delivery = attempt.delivery
    return DeadLetter(
        delivery.task_id,
        delivery.queue,
        delivery.task_id,
        delivery.body,
        reason.value,
        failure.message or failure.type_name,
        attempt.envelope.retries if attempt.envelope else 0,
        now,
        delivery.priority,
        failure.type_name if failure.type_name != reason else "",  # the word for no exception
    )
