"""From a task, its options and arguments to the message of one call. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from msgspec import UNSET, Raw

from chicory import rules
from chicory.errors import ConfigurationError, ValidationError
from chicory.message import Envelope, new_id
from chicory.names import check_name
from chicory.options import CallOptions
from chicory.retry import LONGEST_DELAY, NO_RETRIES
from chicory.signature import Signature
from chicory.transport import MAX_NAME, Unique


def compose(
    signature: Signature,
    options: CallOptions,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    now: float,
    *,
    check: bool,
) -> Envelope:
    """The message of a call at the time ``now``; ``check``: see that the arguments fit.

    Raises:
        ValidationError: they do not, or the unique key that they give is none.
        ConfigurationError: ``eta`` is further away than makes sense.
    """
    packed_args, packed_kwargs = signature.encode(args, kwargs, check=check)
    envelope = outline(signature.name, options, now)
    envelope.args, envelope.kwargs = Raw(packed_args), Raw(packed_kwargs)
    envelope.unique = _unique(signature.name, options, args, kwargs, begin(options, now) - now)
    return envelope


def outline(name: str, options: CallOptions, now: float) -> Envelope:
    """The same without arguments, and without the key that they may decide on."""
    start = begin(options, now)
    return Envelope(
        id=new_id(),
        name=name,
        eta=datetime.fromtimestamp(start, UTC) if start > now else None,
        priority=int(options.priority),
        enqueued_at=now,
        expires_at=None if options.expires is None else start + options.expires,
        headers=dict(options.headers),
        timeout=_timeout(options),
        retry_policy=_rules(options),
    )


def begin(options: CallOptions, now: float) -> float:
    """When the call may begin."""
    if options.delay is not None:
        return now + options.delay
    if options.eta is None:
        return now
    due = options.eta.timestamp()
    if due - now > LONGEST_DELAY:
        raise ConfigurationError(
            f"options(eta={options.eta.isoformat()}): is more than {LONGEST_DELAY:.0f} s from now"
        )
    return max(now, due)


def _timeout(options: CallOptions) -> float | None:
    if options.timeout is UNSET:
        return None
    return 0.0 if options.timeout is None else options.timeout


def _rules(options: CallOptions) -> rules.RetryRules | None:
    if options.retry_policy is UNSET:
        return None
    return rules.written(options.retry_policy or NO_RETRIES)


def _unique(
    name: str,
    options: CallOptions,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    wait: float,
) -> Unique | None:
    key = options.unique
    if callable(key):
        try:
            key = key(*args, **kwargs)
        except Exception as error:  # the user's code
            raise ValidationError(
                f"{name}: unique key cannot be computed: {type(error).__name__}: {error}"
            ) from error
    if key is None:
        return None
    check_name(key, f"{name}: unique key")
    ttl = LONGEST_DELAY if options.unique_ttl is None else options.unique_ttl
    return Unique(_scoped(name, key), wait + ttl)


def _scoped(name: str, key: str) -> str:
    """The key, told apart from those of other tasks; where that is too long, what stands for it."""
    whole = f"{name.replace('%', '%25').replace(':', '%3A')}:{key}"
    return whole if len(whole) <= MAX_NAME else sha256(whole.encode()).hexdigest()
