"""Counting and logging what attempts came to."""

from __future__ import annotations

import logging

from chicory.logs import Traceback, unfailing
from chicory.outcome import (
    Bury,
    Cancel,
    DeathReason,
    Fail,
    GiveBack,
    Postpone,
    RetryIn,
    Succeed,
    Verdict,
)
from chicory.worker.attempt import Attempt
from chicory.worker.meter import Meter

logger = unfailing("chicory.task")


class Tally:
    """Counts of one worker since its start.

    Attributes:
        processed: attempts that came to an end.
        failed: those of them that failed, whether or not they are retried.
        fetched: messages fetched.
        leases_lost: attempts whose lease was lost, so that what they came to did not count.
        meter: what measures each attempt, where somebody wants to know.
    """

    def __init__(self, meter: Meter | None = None) -> None:
        self.processed = 0
        self.failed = 0
        self.fetched = 0
        self.leases_lost = 0
        self.meter = meter

    def count(self, attempt: Attempt, verdict: Verdict, now: float) -> None:
        """Count an attempt that ended ``now`` and say, once, what went wrong with it."""
        if self.meter is not None:
            self.meter.count(attempt, verdict, now)
        if isinstance(verdict, Succeed):
            self.processed += 1
            if logger.isEnabledFor(logging.DEBUG):
                _tell(attempt, verdict)
        elif not isinstance(verdict, GiveBack):
            self.processed += 1
            self.failed += not isinstance(verdict, Cancel | Postpone)
            _tell(attempt, verdict)


def _tell(attempt: Attempt, verdict: Verdict) -> None:
    call = (in_one_line(attempt.name), in_one_line(attempt.delivery.task_id))
    labels = attempt.labels
    match verdict:
        case Succeed():
            logger.debug("task %s (%s) succeeded", *call, extra=labels)
        case Cancel():
            logger.info("task %s (%s) was cancelled", *call, extra=labels)
        case Postpone(delay=delay):
            logger.info("task %s (%s) snoozes for %.3g s", *call, delay, extra=labels)
        case RetryIn(delay=delay, failure=failure):
            logger.warning(
                "task %s (%s) failed, next attempt in %.3g s: %s: %s",
                *call,
                delay,
                failure.type_name,
                in_one_line(failure.message),
                extra=labels,
            )
        case Fail(failure=failure):
            trace = Traceback(failure.traceback)
            logger.error(
                "task %s (%s) failed: %s: %s\n%s",
                *call,
                failure.type_name,
                in_one_line(failure.message),
                trace.shown,
                extra=labels | {"failure": trace},
            )
        case Bury(reason=DeathReason.FAILED, failure=failure):
            trace = Traceback(failure.traceback)
            logger.error(
                "task %s (%s) failed for good and is a dead letter: %s: %s\n%s",
                *call,
                failure.type_name,
                in_one_line(failure.message),
                trace.shown,
                extra=labels | {"failure": trace},
            )
        case Bury(reason=reason, failure=failure):
            logger.error(
                "task %s (%s) is a dead letter (%s): %s",
                *call,
                reason.value,
                in_one_line(failure.message),
                extra=labels,
            )
        case GiveBack():
            pass


def in_one_line(text: str) -> str:
    """A text that came with a message, so that it cannot pass for a log line of its own."""
    return text if text.isprintable() else repr(text)
