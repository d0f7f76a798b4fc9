import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chicory.errors import ConfigurationError
from chicory.retry import JITTER, LONGEST_DELAY, RetryBackoff, RetryPolicy

policies = st.builds(
    RetryPolicy,
    max_retries=st.integers(0, 1000),
    retry_delay=st.floats(0, LONGEST_DELAY),
    backoff=st.sampled_from(RetryBackoff),
    max_delay=st.floats(0, allow_nan=False),
    jitter=st.booleans() | st.just("full"),
    delays=st.none() | st.lists(st.floats(0, LONGEST_DELAY), min_size=1, max_size=5),
)
attempts = st.integers(1, 10_000)


@given(policies, attempts)
def test_no_delay_is_negative_or_beyond_the_longest(policy, attempt):
    delay = policy.calculate_delay(attempt)

    assert 0 <= delay <= policy.max_delay


@given(policies, attempts, st.floats(0, 1))
def test_jitter_moves_a_delay_by_a_quarter_at_most(policy, attempt, place):
    still = RetryPolicy(
        retry_delay=policy.retry_delay,
        backoff=policy.backoff,
        max_delay=policy.max_delay,
        delays=policy.delays,
        jitter=False,
    ).calculate_delay(attempt)

    delay = policy.calculate_delay(attempt, uniform=lambda low, high: low + place * (high - low))

    slack = 1e-9 * still
    if policy.jitter == "full":
        assert -slack <= delay <= still + slack
        return
    assert still * (1 - JITTER) - slack <= delay <= still * (1 + JITTER) + slack


@given(policies, attempts)
def test_without_jitter_a_delay_never_shrinks(policy, attempt):
    steady = RetryPolicy(
        retry_delay=policy.retry_delay, backoff=policy.backoff, max_delay=1e6, jitter=False
    )

    assert steady.calculate_delay(attempt) <= steady.calculate_delay(attempt + 1)


@pytest.mark.parametrize(
    ("backoff", "delays"),
    [
        (RetryBackoff.FIXED, [2, 2, 2, 2]),
        (RetryBackoff.LINEAR, [2, 4, 6, 8]),
        (RetryBackoff.EXPONENTIAL, [2, 4, 8, 10]),
        ("linear", [2, 4, 6, 8]),
    ],
)
def test_a_delay_grows_as_it_is_said_to(backoff, delays):
    policy = RetryPolicy(retry_delay=2, backoff=backoff, max_delay=10, jitter=False)

    assert [policy.calculate_delay(attempt) for attempt in (1, 2, 3, 4)] == delays


class RefusedError(ConnectionRefusedError):
    pass


@pytest.mark.parametrize(
    ("retry_on", "ignore_on", "error", "retried"),
    [
        (None, None, ValueError(), True),
        (None, None, SystemExit(), True),
        ([], None, ValueError(), False),
        ([ValueError], None, ValueError(), True),
        ([ValueError], None, KeyError(), False),
        ([OSError], None, RefusedError(), True),
        (["OSError"], None, RefusedError(), True),
        (["builtins.OSError"], None, RefusedError(), True),
        (["ConnectionRefusedError"], None, OSError(), False),
        ([f"{__name__}.RefusedError"], None, RefusedError(), True),
        (["Value"], None, ValueError(), False),
        (None, [OSError], RefusedError(), False),
        (None, ["OSError"], RefusedError(), False),
        (None, ["OSError"], ValueError(), True),
        ([OSError], [RefusedError], RefusedError(), False),
        (["RefusedError"], ["RefusedError"], RefusedError(), False),
        ((ValueError,), (KeyError,), ValueError(), True),
    ],
)
def test_the_filters_choose_and_ignore_is_the_stronger(retry_on, ignore_on, error, retried):
    policy = RetryPolicy(retry_on=retry_on, ignore_on=ignore_on)

    assert policy.should_retry(error) is retried


@pytest.mark.parametrize(
    ("setting", "accepted"),
    [
        ({"max_retries": -1}, "a whole number, 0 or more"),
        ({"max_retries": 2.5}, "a whole number, 0 or more"),
        ({"max_retries": "3"}, "a whole number, 0 or more"),
        ({"max_retries": None}, "a whole number, 0 or more"),
        ({"max_retries": True}, "a whole number, 0 or more"),
        ({"retry_delay": -0.1}, "a number from 0 to 1000000000"),
        ({"retry_delay": math.nan}, "a number from 0 to 1000000000"),
        ({"retry_delay": math.inf}, "a number from 0 to 1000000000"),
        ({"max_delay": math.nan}, "a number, 0 or more"),
        ({"max_delay": "1h"}, "a number, 0 or more"),
        ({"backoff": "steep"}, "one of fixed, linear, exponential"),
        ({"retry_within": -1}, "a number from 0 to 1000000000 or None"),
        ({"delays": []}, "a list of seconds, one or more"),
        ({"delays": 5}, "a list of seconds, one or more"),
        ({"delays": [1, -1]}, "a number from 0 to 1000000000"),
        ({"jitter": "half"}, "true or false or one of full"),
        ({"jitter": 2}, "true or false or one of full"),
        ({"retry_on": ValueError}, "a list of exception classes or names"),
        ({"retry_on": "ValueError"}, "a list of exception classes or names"),
        ({"retry_on": ["\udc80"]}, "a list of exception classes or names"),
        ({"ignore_on": [ValueError()]}, "a list of exception classes or names"),
        ({"ignore_on": [int]}, "a list of exception classes or names"),
    ],
    ids=str,
)
def test_a_wrong_setting_is_named_with_what_is_accepted(setting, accepted):
    (name,) = setting

    with pytest.raises(ConfigurationError, match=rf"^RetryPolicy\({name}=.*\): must be {accepted}"):
        RetryPolicy(**setting)


def test_delays_are_taken_in_turn_and_the_last_one_repeats():
    policy = RetryPolicy(delays=[5, 1, 30], max_delay=20, jitter=False)

    assert [policy.calculate_delay(attempt) for attempt in (1, 2, 3, 4, 99)] == [5, 1, 20, 20, 20]


def test_full_jitter_takes_any_delay_up_to_the_whole():
    policy = RetryPolicy(retry_delay=8, backoff="fixed", jitter="full")

    assert policy.calculate_delay(1, uniform=lambda low, _: low) == 0
    assert policy.calculate_delay(1, uniform=lambda _, high: high) == 8


def test_a_function_may_say_what_is_retried_and_ignore_is_the_stronger():
    policy = RetryPolicy(retry_on=lambda error: "again" in str(error), ignore_on=[KeyError])

    assert policy.should_retry(ValueError("again"))
    assert not policy.should_retry(ValueError("no"))
    assert not policy.should_retry(KeyError("again"))


@given(st.none() | st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0, 1e6))
def test_a_retry_is_due_within_its_time_or_not_made(budget, delay, since):
    policy = RetryPolicy(retry_within=budget)

    assert policy.allows(delay, since) is (budget is None or delay + since <= budget)
