"""An exception on its way from a process to its worker: put in words there, raised here."""

from __future__ import annotations

from chicory.context import FailTask, SnoozeTask
from chicory.errors import MaxRetriesExceededError, RemoteError, RetryError
from chicory.logs import unfailing
from chicory.outcome import describe, request
from chicory.processes.wire import Again, Error, Fault, GivenUp, Outcome, Snooze
from chicory.retry import RetryPolicy, names_of

logger = unfailing("chicory.task")


def tell(error: BaseException, policy: RetryPolicy | None) -> Outcome:
    """What a process says of an exception; ``policy`` is its task's, where that is known."""
    error = request(error)
    if isinstance(error, SnoozeTask):
        return Snooze(error.seconds)
    if isinstance(error, FailTask):
        return GivenUp(_words(error.error, None))
    if isinstance(error, RetryError):
        last = isinstance(error, MaxRetriesExceededError)
        return Again(_words(error.cause or error, None), error.countdown, last)
    return Fault(_words(error, policy))


def hear(said: Again | Fault | GivenUp | Snooze) -> BaseException:
    """The exception that stands for it in the worker."""
    match said:
        case Snooze(seconds=seconds):
            return SnoozeTask(seconds)
        case GivenUp(error=error):
            return FailTask(_remote(error))
        case Again(error=error, last=True):
            return MaxRetriesExceededError(error.message, cause=_remote(error))
        case Again(error=error, countdown=countdown):
            return RetryError(error.message, countdown=countdown, cause=_remote(error))
        case Fault(error=error):
            return _remote(error)


def _words(error: BaseException, policy: RetryPolicy | None) -> Error:
    failure = describe(error)
    return Error(
        failure.type_name,
        failure.message,
        failure.traceback,
        sorted(names_of(type(error))),
        _wanted(error, policy),
    )


def _wanted(error: BaseException, policy: RetryPolicy | None) -> bool | None:
    """What a function says that decides on retries: it is to see the exception itself."""
    if policy is None or not callable(policy.retry_on):
        return None
    try:
        return policy.should_retry(error)
    except Exception:
        logger.exception("a retry_on failed of %s: no retry", type(error).__name__)
        return False


def _remote(error: Error) -> RemoteError:
    return RemoteError(
        error.type_name, error.message, error.traceback, frozenset(error.kinds), wanted=error.wanted
    )
