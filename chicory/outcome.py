"""What the end of an attempt means: pure decisions, no I/O, no clock."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from enum import StrEnum
from types import TracebackType
from typing import TypeAlias

from msgspec import Raw, Struct

from chicory import trace
from chicory.codec import sendable
from chicory.context import FailTask, SnoozeTask
from chicory.errors import MaxRetriesExceededError, RemoteError, RetryError
from chicory.retry import LONGEST_DELAY, RetryPolicy

MAX_TRACEBACK = 16_384
"""Characters kept of a traceback: its end, which names the error."""
MAX_ERROR = 4_096
"""Characters kept of an exception's message: its begin."""
MAX_TYPE = 255
"""Characters kept of the name of its class: the end, without the outermost package."""
_OURS = ("chicory.worker.", "chicory.processes.", "anyio.", "asyncio.", "trio.", "outcome.")

_REQUESTS = (FailTask, SnoozeTask, RetryError, MaxRetriesExceededError)


class DeathReason(StrEnum):
    """Why a message became a dead letter."""

    FAILED = "failed"
    CRASHED = "crashed"
    UNDECODABLE = "undecodable"
    NEWER_VERSION = "newer-version"
    BAD_SIGNATURE = "bad-signature"
    UNKNOWN_TASK = "unknown-task"
    INVALID_ARGUMENTS = "invalid-arguments"
    UNUSABLE_RESULT = "unusable-result"


class Failure(Struct, frozen=True):
    """An error in words."""

    type_name: str
    message: str
    traceback: str = ""


class Returned(Struct, frozen=True):
    """The function returned; its value, encoded."""

    value: Raw


class Raised(Struct, frozen=True):
    """The function raised, or ran out of its time."""

    error: BaseException


class Refused(Struct, frozen=True):
    """The message cannot be run, or its result not be stored; trying again would not help."""

    reason: DeathReason
    error: str


class Expired(Struct, frozen=True):
    """The message was fetched after its expiry.

    Attributes:
        failure: what its last attempt failed of; ``None`` where none has failed.
    """

    failure: Failure | None = None


class Stopped(Struct, frozen=True):
    """The call was cancelled on request."""


class GivenBack(Struct, frozen=True):
    """The worker stops, or held more than it can run: somebody else takes the message."""

    not_before: float = 0.0


Ending: TypeAlias = Returned | Raised | Refused | Expired | Stopped | GivenBack


class Succeed(Struct, frozen=True):
    """Store the value."""

    value: Raw


class RetryIn(Struct, frozen=True):
    """Publish the next attempt, due in ``delay`` seconds."""

    delay: float
    failure: Failure


class Fail(Struct, frozen=True):
    """Store the failure; the message is gone."""

    failure: Failure


class Bury(Struct, frozen=True):
    """Store the failure and keep the message as a dead letter."""

    reason: DeathReason
    failure: Failure


class Cancel(Struct, frozen=True):
    """Store that it was cancelled."""


class GiveBack(Struct, frozen=True):
    """Release the lease, uncounted."""

    not_before: float


class Postpone(Struct, frozen=True):
    """Publish the same attempt again, due in ``delay`` seconds."""

    delay: float


Verdict: TypeAlias = Succeed | RetryIn | Fail | Bury | Cancel | GiveBack | Postpone


class Terms(Struct, frozen=True):
    """What the decision depends on beside the ending.

    Attributes:
        retries: attempts made before this one.
        policy: the task's retry policy.
        dead_letters: whether exhausted calls are kept as dead letters.
        since_failure: seconds since the call's first failure; 0 where this is the first.
        expires_in: seconds for which an attempt may still begin.
    """

    retries: int
    policy: RetryPolicy
    dead_letters: bool = True
    since_failure: float = 0.0
    expires_in: float = math.inf


def decide(
    ending: Ending,
    terms: Terms,
    uniform: Callable[[float, float], float] = random.uniform,
) -> Verdict:
    """What is to be done about the end of an attempt."""
    if isinstance(ending, Raised):
        return _after_error(ending.error, terms, uniform)
    return decide_anyhow(ending, dead_letters=terms.dead_letters)


def decide_anyhow(
    ending: Returned | Refused | Expired | Stopped | GivenBack, *, dead_letters: bool
) -> Verdict:
    """The same where it does not depend on the terms that come with the message."""
    match ending:
        case Returned(value=value):
            return Succeed(value)
        case Refused(reason=reason, error=text):
            return Bury(reason, Failure(reason.value, sendable(text)[:MAX_ERROR]))
        case Expired(failure=failure):
            if failure is not None:
                return _given_up(failure, dead_letters=dead_letters)
            return Fail(Failure("expired", "fetched after it had expired: not begun any more"))
        case Stopped():
            return Cancel()
        case GivenBack(not_before=not_before):
            return GiveBack(not_before)


def settled_before(verdict: Verdict) -> Verdict:
    """The verdict as it is where the message was settled before: that has left nothing."""
    if isinstance(verdict, GiveBack):
        return Fail(Failure("stopped", "its worker stopped; it runs at most once"))
    return Fail(verdict.failure) if isinstance(verdict, Bury) else verdict


def undecided(error: BaseException) -> Refused:
    """The ending where a decision raised: exceptions, filters and countdowns are the user's."""
    return Refused(DeathReason.FAILED, describe(error).message)


def crashed(deliveries: int, max_crashes: int) -> bool:
    """Whether a message has taken its workers down with it as often as is allowed."""
    return deliveries > max_crashes


def suspect(deliveries: int, max_crashes: int) -> bool:
    """Whether this is the last delivery allowed: to be held alone, so that only the guilty die."""
    return 1 < deliveries == max_crashes


def _after_error(
    error: BaseException, terms: Terms, uniform: Callable[[float, float], float]
) -> Verdict:
    error = request(error)
    if isinstance(error, FailTask):
        return _give_up(error.error, terms)
    if isinstance(error, SnoozeTask):
        return Postpone(error.seconds)
    if isinstance(error, MaxRetriesExceededError):
        return _give_up(error.cause or error, terms)
    asked = isinstance(error, RetryError)
    cause = error.cause or error if asked else error
    is_last = terms.retries >= terms.policy.max_retries
    if is_last or not (asked or terms.policy.should_retry(error)):
        return _give_up(cause, terms)
    delay = error.countdown if asked else None
    if delay is None or not 0 <= delay <= LONGEST_DELAY:  # raised by hand, ctx.retry checks it
        delay = terms.policy.calculate_delay(terms.retries + 1, uniform=uniform)
    if delay > terms.expires_in or not terms.policy.allows(delay, terms.since_failure):
        return _give_up(cause, terms)
    return RetryIn(delay, describe(cause))


def request(error: BaseException) -> BaseException:
    """What the task asked for, also where it did so within a task group of its own.

    The error itself, where it asked for nothing.
    """
    inner = error
    while isinstance(inner, BaseExceptionGroup) and len(inner.exceptions) == 1:  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
        inner = inner.exceptions[0]  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    return inner if isinstance(inner, _REQUESTS) else error


def _give_up(error: BaseException, terms: Terms) -> Verdict:
    return _given_up(describe(error), dead_letters=terms.dead_letters)


def _given_up(failure: Failure, *, dead_letters: bool) -> Verdict:
    return Bury(DeathReason.FAILED, failure) if dead_letters else Fail(failure)


def describe(error: BaseException) -> Failure:
    """An exception in words; never raises, whatever its ``__str__`` does."""
    if isinstance(error, RemoteError):  # it was put in words where it was raised
        return Failure(error.type_name, str(error), error.remote_traceback)
    kind = type(error)
    name = kind.__qualname__
    if kind.__module__ not in {"builtins", "__main__"}:
        name = f"{kind.__module__}.{name}"
    try:
        message = str(error)
    except BaseException as problem:  # noqa: BLE001  (the user's code)
        message = f"<its text cannot be had: {type(problem).__name__}>"
    try:
        shown = trace.text(error, _of_the_user(error.__traceback__))
    except BaseException:  # noqa: BLE001  (likewise)
        shown = ""
    return Failure(
        sendable(name)[-MAX_TYPE:],
        sendable(message)[:MAX_ERROR],
        sendable(shown)[-MAX_TRACEBACK:],
    )


def _of_the_user(whole: TracebackType | None) -> TracebackType | None:
    """The traceback without the worker's own frames, which come first; whole if it has no other."""
    mine = whole
    while mine is not None and _is_ours(mine.tb_frame.f_globals.get("__name__", "")):
        mine = mine.tb_next
    return mine or whole


def _is_ours(module: str) -> bool:
    return module.startswith(_OURS)


def too_large(name: str, size: int, limit: int) -> str:
    """What is said of a result that no store would take."""
    return f"{name}: its result has {size:,} bytes, the limit is {limit:,}"
