"""Before an attempt runs: its message is decoded, its task looked up, its arguments validated."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from chicory import message as messages
from chicory.errors import (
    ConfigurationError,
    MessageError,
    MessageSignatureError,
    MessageVersionError,
    ValidationError,
)
from chicory.message import Envelope
from chicory.outcome import (
    MAX_ERROR,
    MAX_TYPE,
    DeathReason,
    Ending,
    Expired,
    Failure,
    Refused,
    crashed,
)
from chicory.task import Task
from chicory.transport import Delivery
from chicory.worker.attempt import Attempt
from chicory.worker.plan import Post


class Preparation:
    """Fills in what is known of an attempt, or ends it with the reason why it cannot run.

    The arguments of tasks that run in processes of their own are decoded there.
    """

    def __init__(self, post: Post) -> None:
        self._tasks = post.app.tasks
        self._seal = post.app.seal
        self._max_crashes = post.config.max_crashes
        self._now = post.now
        self._apart = frozenset(post.plan.apart)

    def prepare(self, attempt: Attempt) -> None:
        """Decode, look up, validate."""
        if attempt.abort is not None:
            with suppress(_Unfit):  # only for what is said of it
                self._look_up(attempt, self._decode(attempt))
            attempt.ending = attempt.abort
            return
        try:
            envelope = self._decode(attempt)
            self._admit(attempt, envelope)
            self._bind(attempt, envelope, self._look_up(attempt, envelope))
        except _Unfit as unfit:
            attempt.ending = unfit.ending

    def look_again(self, attempt: Attempt) -> None:
        """What may have changed while a prepared attempt waited for its turn."""
        assert attempt.envelope is not None
        if attempt.abort is not None:
            attempt.ending = attempt.abort
        elif self._has_expired(attempt.envelope):
            attempt.ending = _expired(attempt.envelope)

    def _decode(self, attempt: Attempt) -> Envelope:
        try:
            envelope = attempt.envelope = self._read(attempt.delivery)
        except MessageSignatureError as error:
            raise _Unfit(Refused(DeathReason.BAD_SIGNATURE, str(error))) from error
        except MessageVersionError as error:
            raise _Unfit(Refused(DeathReason.NEWER_VERSION, str(error))) from error
        except MessageError as error:
            raise _Unfit(Refused(DeathReason.UNDECODABLE, str(error))) from error
        attempt.name = attempt.labels["task"] = envelope.name
        attempt.labels["attempt"] = envelope.retries + 1
        return envelope

    def _read(self, delivery: Delivery) -> Envelope:
        envelope = messages.decode(self._seal.open(delivery.body))
        if envelope.id != delivery.task_id and self._seal.vouches_for(delivery.body):
            raise MessageSignatureError(f"signed as the call {envelope.id!r}, not as this one")
        return envelope

    def _admit(self, attempt: Attempt, envelope: Envelope) -> None:
        deliveries = attempt.delivery.deliveries
        if deliveries > 1 and crashed(deliveries, self._max_crashes):
            why = (
                f"{attempt.name}: its worker died, or lost its lease, "
                f"{deliveries - 1} times while it held this message"
            )
            raise _Unfit(Refused(DeathReason.CRASHED, why))
        if self._has_expired(envelope):
            raise _Unfit(_expired(envelope))

    def _has_expired(self, envelope: Envelope) -> bool:
        expires_at = envelope.expires_at
        return expires_at is not None and self._now() > expires_at

    def _look_up(self, attempt: Attempt, envelope: Envelope) -> Task[..., Any]:
        task = attempt.task = self._tasks.get(envelope.name)
        if task is None:
            why = f"no task is named {envelope.name!r} in this worker: deploy it, then replay"
            raise _Unfit(Refused(DeathReason.UNKNOWN_TASK, why))
        return task

    def _bind(self, attempt: Attempt, envelope: Envelope, task: Task[..., Any]) -> None:
        if self._apart and task.name in self._apart and not task.at_most_once:
            return
        try:
            attempt.args, attempt.kwargs = task.signature.decode(envelope.args, envelope.kwargs)
        except (ValidationError, ConfigurationError) as error:
            raise _Unfit(Refused(DeathReason.INVALID_ARGUMENTS, str(error))) from error


def _expired(envelope: Envelope) -> Expired:
    """The ending of a message that has expired: an error of an earlier attempt is not to vanish."""
    if not envelope.retries:
        return Expired()
    kind = envelope.failures[-1].error_type if envelope.failures else ""
    text = f"expired before its next attempt: {envelope.last_error or 'no error is known'}"
    return Expired(Failure(kind[-MAX_TYPE:] or DeathReason.FAILED.value, text[:MAX_ERROR]))


class _Unfit(Exception):  # noqa: N818  (a message's, not an error)
    """The message is not to be run."""

    def __init__(self, ending: Ending) -> None:
        super().__init__()
        self.ending = ending
