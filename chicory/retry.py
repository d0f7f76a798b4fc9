"""When a failed attempt is made again: the policy, and its arithmetic."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection
from enum import StrEnum
from typing import Annotated, Any, Literal, Optional, Union, cast

from msgspec import Meta, Struct
from msgspec.structs import force_setattr

from chicory.accepted import accept, is_text
from chicory.errors import ConfigurationError, RemoteError

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
            together do not return together; ``"full"``: from nothing to the whole delay.
        retry_on: retry only these exceptions (classes, or names with or without module);
            ``None``: all. A subclass counts as its base class. Or a function that is given the
            exception and says whether to retry; it cannot travel with a call's own policy.
        ignore_on: never retry these; stronger than ``retry_on``.
        delays: seconds before each retry, in place of ``retry_delay`` and ``backoff``; the last
            one goes for all that follow.
        retry_within: seconds after the first failure from which no retry is due any more.
    """

    max_retries: int = 3
    retry_delay: float = 1.0
    backoff: RetryBackoff = RetryBackoff.EXPONENTIAL
    max_delay: float = 3600.0
    jitter: bool | Literal["full"] = True
    retry_on: list[str | type[BaseException]] | Callable[[BaseException], bool] | None = None
    ignore_on: list[str | type[BaseException]] | None = None
    delays: list[float] | None = None
    retry_within: float | None = None

    def __post_init__(self) -> None:
        for name, kind in _kinds().items():
            value = getattr(self, name)
            force_setattr(self, name, accept(value, kind, f"RetryPolicy({name}={value!r})"))
        self._check_delays()
        for name in ("retry_on", "ignore_on"):
            filters = getattr(self, name)
            if name == "retry_on" and _is_predicate(filters):
                continue
            if filters is not None and not _are_filters(filters):
                raise ConfigurationError(
                    f"RetryPolicy({name}={filters!r}): must be a list of exception classes or names"
                )

    def calculate_delay(
        self, attempt: int, *, uniform: Callable[[float, float], float] = random.uniform
    ) -> float:
        """Seconds before retry number ``attempt`` (from 1), between 0 and ``max_delay``."""
        delay = min(self._growth(attempt), self.max_delay)
        if self.jitter == "full":
            delay = uniform(0.0, delay)
        elif self.jitter:
            delay = uniform(delay * (1 - JITTER), delay * (1 + JITTER))
        return min(max(0.0, delay), self.max_delay)

    def _check_delays(self) -> None:
        if self.delays is None:
            return
        shown = f"RetryPolicy(delays={self.delays!r})"
        if not isinstance(self.delays, list | tuple) or not self.delays:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigurationError(f"{shown}: must be a list of seconds, one or more")
        force_setattr(self, "delays", [accept(one, _SECONDS, shown) for one in self.delays])

    def _growth(self, attempt: int) -> float:
        if self.delays is not None:
            return self.delays[min(attempt, len(self.delays)) - 1]
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
        if self.retry_on is None:
            return True
        if callable(self.retry_on):
            if isinstance(error, RemoteError) and error.wanted is not None:
                return error.wanted
            return bool(self.retry_on(error))
        return _matches(error, self.retry_on)

    def allows(self, delay: float, since_failure: float) -> bool:
        """Whether ``retry_within`` allows a retry in ``delay`` seconds.

        ``since_failure``: seconds since the call's first failure.
        """
        return self.retry_within is None or since_failure + delay <= self.retry_within


_SECONDS = Annotated[float, Meta(ge=0, le=LONGEST_DELAY)]


def _kinds() -> dict[str, Any]:
    return {
        "max_retries": Annotated[int, Meta(ge=0)],
        "retry_delay": _SECONDS,
        "backoff": RetryBackoff,
        "max_delay": Annotated[float, Meta(ge=0)],
        "jitter": Union[bool, Literal["full"]],  # noqa: UP007  (as a value, not an annotation)
        "retry_within": Optional[_SECONDS],  # noqa: UP045  (pyright knows no | of Annotated)
    }


def _are_filters(value: Any) -> bool:
    if not isinstance(value, list | tuple | set | frozenset):
        return False
    return all(map(_is_filter, cast("Collection[object]", value)))


def _is_predicate(value: Any) -> bool:
    return callable(value) and not isinstance(value, type)


def _is_filter(kind: object) -> bool:
    if isinstance(kind, str):
        return is_text(kind)
    return isinstance(kind, type) and issubclass(kind, BaseException)


NO_RETRIES = RetryPolicy(max_retries=0)
"""The policy of a task that was given none."""


def names_of(cls: type[BaseException]) -> frozenset[str]:
    """By which a filter may name this class, or one above it."""
    names = ((one.__name__, full_name(one)) for one in cls.__mro__)
    return frozenset(name for both in names for name in both)


def full_name(cls: type) -> str:
    """The name of a class with its module."""
    return f"{cls.__module__}.{cls.__qualname__}"


def _matches(error: BaseException, kinds: Collection[str | type[BaseException]]) -> bool:
    if isinstance(error, RemoteError):
        return any(
            (kind if isinstance(kind, str) else full_name(kind)) in error.kinds for kind in kinds
        )
    names = names_of(type(error))
    return any(
        kind in names if isinstance(kind, str) else isinstance(error, kind) for kind in kinds
    )
