"""When a failed attempt is made again: the policy, and its arithmetic."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection
from enum import StrEnum
from typing import Annotated, Any, cast

from msgspec import Meta, Struct
from msgspec.structs import force_setattr

from chicory.accepted import accept
from chicory.errors import ConfigurationError

JITTER = 0.25
LONGEST_DELAY = 1e9
"""Seconds, some 30 years: what is beyond is a mistake."""


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
        for name, kind in _kinds().items():
            value = getattr(self, name)
            force_setattr(self, name, accept(value, kind, f"RetryPolicy({name}={value!r})"))
        for name in ("retry_on", "ignore_on"):
            filters = getattr(self, name)
            if filters is not None and not _are_filters(filters):
                raise ConfigurationError(
                    f"RetryPolicy({name}={filters!r}): must be a list of exception classes or names"
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


def _kinds() -> dict[str, Any]:
    seconds = Annotated[float, Meta(ge=0, le=LONGEST_DELAY)]
    return {
        "max_retries": Annotated[int, Meta(ge=0)],
        "retry_delay": seconds,
        "backoff": RetryBackoff,
        "max_delay": Annotated[float, Meta(ge=0)],
        "jitter": bool,
    }


def _are_filters(value: Any) -> bool:
    if not isinstance(value, list | tuple | set | frozenset):
        return False
    return all(map(_is_filter, cast("Collection[object]", value)))


def _is_filter(kind: object) -> bool:
    return isinstance(kind, str) or (isinstance(kind, type) and issubclass(kind, BaseException))


NO_RETRIES = RetryPolicy(max_retries=0)
"""The policy of a task that was given none."""


def _matches(error: BaseException, kinds: list[str | type[BaseException]]) -> bool:
    names: set[str] = set()
    for cls in type(error).__mro__:
        names.update((cls.__name__, f"{cls.__module__}.{cls.__qualname__}"))
    return any(
        kind in names if isinstance(kind, str) else isinstance(error, kind) for kind in kinds
    )
