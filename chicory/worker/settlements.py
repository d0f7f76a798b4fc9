"""From an attempt that ended to the settlement that makes its outcome durable. No I/O."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import msgspec
from msgspec import Raw

from chicory import cancellation, record
from chicory import message as messages
from chicory.message import Envelope, PastFailure
from chicory.outcome import (
    Bury,
    Cancel,
    DeathReason,
    Ending,
    Fail,
    Failure,
    GiveBack,
    Postpone,
    Raised,
    RetryIn,
    Returned,
    Succeed,
    Terms,
    Verdict,
    decide,
    decide_anyhow,
    settled_before,
    too_large,
)
from chicory.record import StoredResult
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
        verdict: Verdict
        if isinstance(ending, Returned):  # as nearly always, and on whatever terms
            verdict = Succeed(ending.value)
        else:
            verdict = self._judged(attempt, self._decided(attempt, ending, now))
        settlement = self._settlement(attempt, verdict, now)
        if isinstance(verdict, Succeed) and (size := _size(settlement)) > self._max_size:
            verdict = self._judged(attempt, self._too_large(attempt, size))
            settlement = self._settlement(attempt, verdict, now)
        return verdict, settlement

    def _decided(self, attempt: Attempt, ending: Ending, now: float) -> Verdict:
        if isinstance(ending, Raised):
            return decide(ending, self._terms(attempt, now))
        # the other terms come with the message, and may make no sense
        return decide_anyhow(ending, dead_letters=self._dead_letters)

    def _judged(self, attempt: Attempt, verdict: Verdict) -> Verdict:
        return settled_before(verdict) if attempt.acknowledged else verdict

    def _terms(self, attempt: Attempt, now: float) -> Terms:
        envelope = attempt.envelope
        first = envelope.first_failure_at if envelope else None
        expires_at = envelope.expires_at if envelope else None
        return Terms(
            envelope.retries if envelope else 0,
            attempt.policy,
            self._dead_letters,
            max(0.0, now - first.timestamp()) if first else 0.0,
            math.inf if expires_at is None else expires_at - now,
        )

    def _too_large(self, attempt: Attempt, size: int) -> Verdict:
        failure = Failure(
            DeathReason.UNUSABLE_RESULT.value,
            too_large(attempt.name, size, self._max_size),
        )
        return Bury(DeathReason.UNUSABLE_RESULT, failure)

    def _settlement(self, attempt: Attempt, verdict: Verdict, now: float) -> Settlement:
        receipt = attempt.delivery.receipt
        match verdict:
            case Succeed(value=value):
                return Done(receipt, self._record(attempt, TaskState.SUCCESS, value, now))
            case Fail(failure=failure):
                return Done(receipt, self._record(attempt, TaskState.FAILURE, failure, now))
            case Cancel():
                failure = Failure(*cancellation.WHY)
                return Done(receipt, self._record(attempt, TaskState.CANCELLED, failure, now))
            case RetryIn() | Postpone():
                return self._retry(attempt, verdict, now)
            case Bury(reason=reason, failure=failure):
                stored = self._record(attempt, TaskState.DEAD_LETTERED, failure, now)
                return Dead(receipt, _letter(attempt, reason, failure, now), stored)
            case GiveBack(not_before=not_before):
                return Release(receipt, not_before)

    def _retry(self, attempt: Attempt, verdict: RetryIn | Postpone, now: float) -> Retry:
        receipt, delay = attempt.delivery.receipt, verdict.delay
        if isinstance(verdict, Postpone):
            return Retry(receipt, _same_attempt(attempt, delay, now))
        again = next_attempt(attempt, delay, verdict.failure, now, self._max_size, self._seal)
        stored = self._record(attempt, TaskState.RETRY, verdict.failure, now)
        return Retry(receipt, again, stored)

    def _record(
        self, attempt: Attempt, state: TaskState, outcome: Raw | Failure, now: float
    ) -> Record | None:
        if not self._stores or (attempt.task and attempt.task.settings.ignore_result):
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
        if isinstance(outcome, Failure):
            stored.error_type, stored.error = outcome.type_name, outcome.message
            stored.traceback = outcome.traceback
        else:
            stored.result = outcome
        return Record(attempt.delivery.task_id, record.encode(stored), self._result_ttl)


def _size(settlement: Settlement) -> int:
    """Bytes of the record, 0 where there is none."""
    stored = None if isinstance(settlement, Release) else settlement.record
    return 0 if stored is None or stored.body is None else len(stored.body)


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
