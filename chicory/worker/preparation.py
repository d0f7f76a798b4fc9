"""Before an attempt runs: its message is decoded, its task looked up, its arguments validated."""

from __future__ import annotations

from chicory import message as messages
from chicory.errors import (
    ConfigurationError,
    MessageError,
    MessageSignatureError,
    MessageVersionError,
    ValidationError,
)
from chicory.message import Envelope
from chicory.outcome import DeathReason, Expired, Refused, crashed
from chicory.states import DeliveryMode
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
        self._steps = (
            self._decode,
            self._count_crashes,
            self._expire,
            self._look_up,
            self._bind,
        )

    def prepare(self, attempt: Attempt) -> None:
        """Decode, look up, validate."""
        if attempt.abort is not None:
            self._decode(attempt)
            self._look_up(attempt)
            attempt.ending = attempt.abort
            return
        for step in self._steps:
            step(attempt)
            if attempt.ending is not None:
                return

    def look_again(self, attempt: Attempt) -> None:
        """What may have changed while a prepared attempt waited for its turn."""
        if attempt.abort is not None:
            attempt.ending = attempt.abort
        else:
            self._expire(attempt)

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
            attempt.name = attempt.labels["task"] = envelope.name
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
        if attempt.name in self._apart and not at_most_once(attempt):
            return
        try:
            signature = attempt.task.signature
            args, kwargs = signature.decode(attempt.envelope.args, attempt.envelope.kwargs)
        except (ValidationError, ConfigurationError) as error:
            attempt.ending = Refused(DeathReason.INVALID_ARGUMENTS, str(error))
            return
        attempt.args, attempt.kwargs = args, kwargs


def at_most_once(attempt: Attempt) -> bool:
    """Whether its message is to be settled before it runs; then it is refused before that."""
    assert attempt.task is not None
    return attempt.task.settings.delivery_mode is DeliveryMode.AT_MOST_ONCE
