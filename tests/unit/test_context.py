import math
from datetime import UTC, datetime

import pytest

from chicory import TaskContext
from chicory.context import FailTask
from chicory.errors import MaxRetriesExceededError, RetryError
from chicory.retry import LONGEST_DELAY, RetryPolicy


def context(retries=0, max_retries=3):
    return TaskContext("id", "t", retries, RetryPolicy(max_retries=max_retries))


@pytest.mark.parametrize(
    ("retries", "remaining", "last"), [(0, 3, False), (2, 1, False), (3, 0, True), (9, 0, True)]
)
def test_the_retries_left_are_counted(retries, remaining, last):
    ctx = context(retries)

    assert (ctx.max_retries, ctx.remaining_retries, ctx.is_last_retry) == (3, remaining, last)


def test_to_ask_for_a_retry_says_when_and_why():
    with pytest.raises(RetryError) as caught:
        context().retry(countdown=5, exc=ValueError("x"))

    assert caught.value.countdown == 5
    assert isinstance(caught.value.cause, ValueError)
    assert not isinstance(caught.value, MaxRetriesExceededError)


def test_to_ask_once_too_often_ends_the_call_with_the_cause():
    with pytest.raises(MaxRetriesExceededError) as caught:
        context(3).retry(exc=ValueError("x"))

    assert isinstance(caught.value.cause, ValueError)


@pytest.mark.parametrize(
    ("limit", "deadline"),
    [
        (None, None),
        (60, datetime(2001, 9, 9, 1, 47, 40, tzinfo=UTC)),
        (252_402_300_799, datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
        (252_402_300_800, None),
        (1e300, None),
        (math.inf, None),
    ],
)
def test_a_deadline_is_in_the_calendar_or_is_none(limit, deadline):
    ctx = TaskContext("id", "t", started_at=1e9, limit=limit)

    assert ctx.deadline == deadline


@pytest.mark.parametrize("countdown", [-1, math.nan, math.inf, LONGEST_DELAY * 2])
def test_a_countdown_beyond_reason_is_refused(countdown):
    with pytest.raises(ValueError, match=r"countdown must be 0 to 1000000000 seconds"):
        context().retry(countdown=countdown)


@pytest.mark.parametrize("reason", [ValueError("no"), "no"])
def test_to_fail_takes_an_exception_or_a_text(reason):
    with pytest.raises(FailTask) as caught:
        context().fail(reason)

    assert str(caught.value.error) == "no"
    assert isinstance(caught.value.error, ValueError | RuntimeError)
