import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chicory import rules
from chicory.errors import ConfigurationError
from chicory.retry import NO_RETRIES, RetryBackoff, RetryPolicy
from chicory.rules import RetryRules


class OwnError(Exception):
    pass


SECONDS = st.floats(0, 1e9)
FILTERS = st.none() | st.lists(st.sampled_from([ValueError, OwnError, "KeyError", "a.b.Error"]))
POLICIES = st.builds(
    RetryPolicy,
    max_retries=st.integers(0, 1000),
    retry_delay=SECONDS,
    backoff=st.sampled_from(RetryBackoff),
    max_delay=SECONDS,
    jitter=st.booleans() | st.just("full"),
    delays=st.none() | st.lists(SECONDS, min_size=1, max_size=3),
    retry_within=st.none() | SECONDS,
    retry_on=FILTERS,
    ignore_on=FILTERS,
)


def travelled(policy: RetryPolicy) -> RetryPolicy:
    packed = msgspec.msgpack.encode(rules.written(policy))
    return rules.read(msgspec.msgpack.decode(packed, type=RetryRules))


@given(POLICIES, st.integers(1, 1000))
def test_a_policy_decides_the_same_where_it_arrives(policy, attempt):
    arrived = travelled(policy)

    assert arrived.max_retries == policy.max_retries
    assert arrived.retry_within == policy.retry_within
    for error in (ValueError(), OwnError(), KeyError(), OSError()):
        assert arrived.should_retry(error) == policy.should_retry(error)
    for uniform in (min, max):
        delays = [one.calculate_delay(attempt, uniform=uniform) for one in (arrived, policy)]
        assert delays[0] == delays[1]


def test_no_retries_are_none_where_they_arrive():
    assert travelled(NO_RETRIES).max_retries == 0


def test_keys_of_a_later_day_are_ignored():
    packed = msgspec.msgpack.encode({"max_retries": 5, "of_a_later_day": [1]})

    assert rules.read(msgspec.msgpack.decode(packed, type=RetryRules)).max_retries == 5


def test_a_function_cannot_travel():
    with pytest.raises(ConfigurationError, match="a function cannot travel with a call"):
        rules.written(RetryPolicy(retry_on=lambda _: True))
