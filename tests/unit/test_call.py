"""From options and arguments to the message: pure."""

from datetime import UTC, datetime, timedelta

import pytest

from chicory.call import compose
from chicory.errors import ConfigurationError, ValidationError
from chicory.options import CallOptions, TaskOptions
from chicory.retry import RetryPolicy
from chicory.rules import RetryRules
from chicory.signature import Signature
from chicory.transport import MAX_NAME, Unique

NOW = 1_800_000_000.0


def add(a: int, b: int = 2) -> int:
    return a + b


def composed(options=None, *args, name="add", **kwargs):
    signature = Signature(name, add)
    return compose(signature, options or CallOptions(), args or (1,), kwargs, NOW, check=True)


def test_a_plain_call_says_nothing_but_itself():
    message = composed(TaskOptions(timeout=5, retry_policy=RetryPolicy()).of_calls)

    assert (message.eta, message.expires_at, message.headers) == (None, None, {})
    assert (message.timeout, message.retry_policy, message.unique) == (None, None, None)


@pytest.mark.parametrize(
    "options", [CallOptions(delay=60), CallOptions(eta=datetime.fromtimestamp(NOW + 60, UTC))]
)
def test_a_delayed_call_has_its_moment_and_expires_after_that(options):
    message = composed(options.altered({"expires": 10}))

    assert message.eta == datetime.fromtimestamp(NOW + 60, UTC)
    assert message.expires_at == NOW + 70
    assert message.enqueued_at == NOW


@pytest.mark.parametrize(
    "options",
    [
        CallOptions(delay=0),
        CallOptions(eta=datetime.fromtimestamp(NOW - 60, UTC)),
        CallOptions(eta=datetime.min.replace(tzinfo=UTC)),
    ],
)
def test_a_moment_that_is_over_is_now(options):
    message = composed(options.altered({"expires": 10}))

    assert message.eta is None
    assert message.expires_at == NOW + 10


def test_a_moment_beyond_reason_is_refused():
    far = datetime.fromtimestamp(NOW, UTC) + timedelta(seconds=1e9 + 1)

    with pytest.raises(ConfigurationError, match="is more than 1000000000 s from now"):
        composed(CallOptions(eta=far))


def test_no_limit_and_no_retries_are_told_from_none_given():
    message = composed(CallOptions(timeout=None, retry_policy=None))

    assert message.timeout == 0
    assert message.retry_policy == RetryRules(max_retries=0)


def test_what_a_call_says_of_time_and_retries_is_told():
    message = composed(CallOptions(timeout=1.5, retry_policy=RetryPolicy(retry_on=[KeyError])))

    assert message.timeout == 1.5
    assert message.retry_policy == RetryRules(retry_on=["builtins.KeyError"])


def test_a_key_is_the_tasks_own_and_held_until_the_end_unless_told_otherwise():
    assert composed(CallOptions(unique="k")).unique == Unique("add:k", 1e9)
    assert composed(CallOptions(unique="k"), name="other").unique == Unique("other:k", 1e9)
    brief = CallOptions(unique="k", unique_ttl=5, delay=60)
    assert composed(brief).unique == Unique("add:k", 65)


def test_keys_of_tasks_with_alike_names_are_kept_apart():
    pairs = [("a", "b:c"), ("a:b", "c"), ("a%3Ab", "c"), ("a", "b%3Ac")]

    keys = {composed(CallOptions(unique=key), name=name).unique.key for name, key in pairs}

    assert len(keys) == len(pairs)


def test_a_long_key_of_a_long_name_is_one_that_can_be_stored():
    name, key = "n" * MAX_NAME, "k" * MAX_NAME

    first = composed(CallOptions(unique=key), name=name).unique.key
    second = composed(CallOptions(unique=key[:-1] + "x"), name=name).unique.key

    assert 0 < len(first) <= MAX_NAME
    assert first != second


def test_a_key_is_computed_from_the_arguments_however_they_are_given():
    options = CallOptions(unique=lambda a, b=2: f"{a}-{b}")

    keys = {
        composed(options, 1).unique.key,
        composed(options, 1, 2).unique.key,
        composed(options, 1, b=2).unique.key,
    }

    assert keys == {"add:1-2"}


def test_a_call_for_which_no_key_is_computed_has_none():
    assert composed(CallOptions(unique=lambda *_: None)).unique is None


@pytest.mark.parametrize(
    ("compute", "reason"),
    [
        (lambda a: 1 / 0, "unique key cannot be computed: ZeroDivisionError: division by zero"),
        (lambda: "k", "unique key cannot be computed: TypeError: .*positional"),
        (lambda a: a, "unique key 1: must be text of 1 to 255 characters"),
        (lambda a: "", "unique key '': must be text of 1 to 255"),
        (lambda a: "x" * 10_240, r"unique key 'x+\.\.\.: must be text of 1 to 255"),
        (lambda a: "\ud800", "unique key .*: must be text"),
    ],
)
def test_a_key_that_is_none_is_refused(compute, reason):
    with pytest.raises(ValidationError, match=f"^add: {reason}"):
        composed(CallOptions(unique=compute))
