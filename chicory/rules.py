"""A retry policy as it travels with a call: exception classes become their names."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from chicory.errors import ConfigurationError
from chicory.retry import LONGEST_DELAY, RetryBackoff, RetryPolicy, full_name

_Seconds = Annotated[float, Meta(ge=0, le=LONGEST_DELAY)]


class RetryRules(Struct, kw_only=True, omit_defaults=True):
    """What a worker needs of a ``RetryPolicy``; the fields mean what they mean there."""

    max_retries: Annotated[int, Meta(ge=0)] = 3
    retry_delay: _Seconds = 1.0
    backoff: RetryBackoff = RetryBackoff.EXPONENTIAL
    max_delay: Annotated[float, Meta(ge=0)] = 3600.0
    jitter: bool | Literal["full"] = True
    retry_on: list[str] | None = None
    ignore_on: list[str] | None = None
    delays: Annotated[list[_Seconds], Meta(min_length=1)] | None = None
    retry_within: _Seconds | None = None


def written(policy: RetryPolicy) -> RetryRules:
    """A policy in words that a worker understands which has no such classes.

    Raises ``ConfigurationError`` for one whose ``retry_on`` is a function.
    """
    if callable(policy.retry_on):
        raise ConfigurationError(
            "retry_policy: a function cannot travel with a call: name exceptions in retry_on, "
            "or give the policy to @app.task(...)"
        )
    return RetryRules(
        max_retries=policy.max_retries,
        retry_delay=policy.retry_delay,
        backoff=policy.backoff,
        max_delay=policy.max_delay,
        jitter=policy.jitter,
        retry_on=_names(policy.retry_on),
        ignore_on=_names(policy.ignore_on),
        delays=policy.delays,
        retry_within=policy.retry_within,
    )


def read(rules: RetryRules) -> RetryPolicy:
    """The policy that was written."""
    return RetryPolicy(**msgspec.structs.asdict(rules))


def _names(kinds: Collection[str | type[BaseException]] | None) -> list[str] | None:
    if kinds is None:
        return None
    return [kind if isinstance(kind, str) else full_name(kind) for kind in kinds]
