"""When a failed attempt is made again: the policy, and its arithmetic."""

from __future__ import annotations

import random
from collections.abc import Callable
from enum import StrEnum

from msgspec import Struct

from chicory.errors import ConfigurationError

JITTER = 0.25


class RetryBackoff(StrEnum):
    """How the delay grows with the number of retries: stays, n times, or doubles."""

    FIXED = "fixed"
    LINEAR = "linear"
    EXPONENTIAL = "exponential"


class RetryPolicy(Struct, frozen=True, kw_only=True):
    """Which failures are retried, how often, and how long after.

    Attributes:
        max_retries: attempts after the first one.
        retry_delay: seconds before the first retry.
        backoff: how the delay grows from there.
        max_delay: seconds; no delay is longer, jitter included.
        jitter: spread each delay evenly by a quarter up or down, so that calls which failed
            together do not return together.
        retry_on: retry only these exceptions (classes, or names with or without module);
            ``None``: all. A subclass counts as its base class.
        ignore_on: never retry these; stronger than ``retry_on``.
    """

    max_retries: int = 3
    retry_delay: float = 1.0
    backoff: RetryBackoff = RetryBackoff.EXPONENTIAL
    max_delay: float = 3600.0
    jitter: bool = True
    retry_on: list[str | type[BaseException]] | None = None
    ignore_on: list[str | type[BaseException]] | None = None

    def __post_init__(self) -> None:
        for name in ("max_retries", "retry_delay", "max_delay"):
            if not getattr(self, name) >= 0:
                raise ConfigurationError(
                    f"RetryPolicy({name}={getattr(self, name)!r}): must be 0 or more"
                )

    def calculate_delay(
        self, attempt: int, *, uniform: Callable[[float, float], float] = random.uniform
    ) -> float:
        """Seconds before retry number ``attempt`` (from 1), between 0 and ``max_delay``."""
        delay = min(self._growth(attempt), self.max_delay)
        if self.jitter:
            delay = uniform(delay * (1 - JITTER), delay * (1 + JITTER))
        return min(max(0.0, delay), self.max_delay)

    def _growth(self, attempt: int) -> float:
        match self.backoff:
            case RetryBackoff.FIXED:
                return self.retry_delay
            case RetryBackoff.LINEAR:
                return self.retry_delay * attempt
            case RetryBackoff.EXPONENTIAL:
                # beyond 2**64 every delay has reached its maximum; a float would overflow
                return self.retry_delay * 2.0 ** min(attempt - 1, 64)

    def should_retry(self, error: BaseException) -> bool:
        """Whether the filters allow a retry after this error."""
        if self.ignore_on and _matches(error, self.ignore_on):
            return False
        return self.retry_on is None or _matches(error, self.retry_on)


NO_RETRIES = RetryPolicy(max_retries=0)
"""The policy of a task that was given none."""


def _matches(error: BaseException, kinds: list[str | type[BaseException]]) -> bool:
    names: set[str] = set()
    for cls in type(error).__mro__:
        names.update((cls.__name__, f"{cls.__module__}.{cls.__qualname__}"))
    return any(
        kind in names if isinstance(kind, str) else isinstance(error, kind) for kind in kinds
    )
