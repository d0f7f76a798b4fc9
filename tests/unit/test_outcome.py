import math

from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from chicory.context import FailTask, SnoozeTask
from chicory.errors import MaxRetriesExceededError, RetryError
from chicory.outcome import (
    MAX_ERROR,
    MAX_TRACEBACK,
    MAX_TYPE,
    Bury,
    Cancel,
    DeathReason,
    Expired,
    Fail,
    Failure,
    GiveBack,
    GivenBack,
    Raised,
    Refused,
    RetryIn,
    Returned,
    Stopped,
    Succeed,
    Terms,
    crashed,
    decide,
    describe,
    suspect,
)
from chicory.retry import LONGEST_DELAY, RetryBackoff, RetryPolicy

filters = st.none() | st.lists(st.sampled_from([ValueError, "KeyError", OSError]), max_size=2)
policies = st.builds(
    RetryPolicy,
    max_retries=st.integers(0, 5),
    retry_delay=st.floats(0, 1e6),
    backoff=st.sampled_from(RetryBackoff),
    max_delay=st.floats(0, 1e7),
    jitter=st.booleans(),
    retry_on=filters,
    ignore_on=filters,
)
plain_errors = st.sampled_from([ValueError("v"), KeyError("k"), OSError("o"), SystemExit(1)])
countdowns = st.none() | st.floats()
errors = (
    plain_errors
    | st.builds(RetryError, countdown=countdowns, cause=st.none() | plain_errors)
    | st.builds(MaxRetriesExceededError, cause=st.none() | plain_errors)
    | st.builds(FailTask, plain_errors)
)
endings = (
    st.builds(Returned, st.just(Raw(b"\x01")))
    | st.builds(Raised, errors)
    | st.builds(Refused, st.sampled_from(DeathReason), st.text())
    | st.builds(Expired, st.none() | st.just(Failure("ValueError", "v")))
    | st.just(Stopped())
    | st.builds(GivenBack, st.floats(0, 1e9))
)
terms = st.builds(Terms, retries=st.integers(0, 7), policy=policies, dead_letters=st.booleans())


@given(endings, terms)
def test_every_ending_has_exactly_one_verdict_of_its_kind(ending, terms):
    verdict = decide(ending, terms)

    expected = {
        Returned: Succeed,
        Raised: RetryIn | (Bury if terms.dead_letters else Fail),
        Refused: Bury,
        Expired: (Bury if terms.dead_letters else Fail) | Fail,
        Stopped: Cancel,
        GivenBack: GiveBack,
    }[type(ending)]
    assert isinstance(verdict, expected)


@given(errors, terms)
def test_the_number_of_retries_is_never_exceeded(error, terms):
    verdict = decide(Raised(error), terms)

    if terms.retries >= terms.policy.max_retries:
        assert not isinstance(verdict, RetryIn)


@given(policies, errors)
def test_a_call_that_always_fails_ends_after_all_its_attempts(policy, error):
    made = 0
    while isinstance(decide(Raised(error), Terms(made, policy)), RetryIn):
        made += 1

    assert made in {0, policy.max_retries}


@given(plain_errors, terms)
def test_a_delay_of_the_policy_is_within_its_bounds(error, terms):
    verdict = decide(Raised(error), terms)

    if isinstance(verdict, RetryIn):
        assert 0 <= verdict.delay <= terms.policy.max_delay


@given(countdowns, terms)
def test_a_delay_asked_for_is_kept_where_it_is_one(countdown, terms):
    verdict = decide(Raised(RetryError(countdown=countdown)), terms)

    if isinstance(verdict, RetryIn):
        if countdown is not None and 0 <= countdown <= LONGEST_DELAY:
            assert verdict.delay == countdown
        else:
            assert 0 <= verdict.delay <= terms.policy.max_delay


@given(plain_errors, terms)
def test_to_ignore_is_stronger_than_to_retry(error, terms):
    ignores = RetryPolicy(max_retries=9, retry_on=[BaseException], ignore_on=[type(error)])

    verdict = decide(Raised(error), Terms(terms.retries, ignores, terms.dead_letters))

    assert not isinstance(verdict, RetryIn)


@given(plain_errors, terms)
def test_what_the_task_gave_up_is_never_retried(error, terms):
    for given_up in (FailTask(error), MaxRetriesExceededError(cause=error)):
        verdict = decide(Raised(given_up), terms)

        assert isinstance(verdict, Bury | Fail)
        assert verdict.failure.type_name == type(error).__qualname__


@given(plain_errors, terms)
def test_a_retry_that_was_asked_for_passes_the_filters(error, terms):
    ignores = RetryPolicy(max_retries=9, retry_on=[], ignore_on=[type(error)])

    verdict = decide(Raised(RetryError(cause=error)), Terms(terms.retries, ignores))

    assert isinstance(verdict, RetryIn)
    assert verdict.failure.message == str(error)


requests = (
    st.builds(RetryError, countdown=countdowns, cause=st.none() | plain_errors)
    | st.builds(MaxRetriesExceededError, cause=st.none() | plain_errors)
    | st.builds(FailTask, plain_errors)
    | st.builds(SnoozeTask, st.floats(0, 1e9))
)


@given(requests, terms, st.integers(1, 3))
def test_what_is_asked_for_within_task_groups_is_asked_for(request, terms, depth):
    error: Exception = request
    for _ in range(depth):
        error = ExceptionGroup("of a task group", [error])

    assert decide(Raised(error), terms, _least) == decide(Raised(request), terms, _least)


@given(requests, terms)
def test_several_errors_of_a_task_group_ask_for_nothing(request, terms):
    error = ExceptionGroup("of a task group", [request, ValueError()])

    verdict = decide(Raised(error), terms)

    assert isinstance(verdict, RetryIn | Bury | Fail)
    assert verdict.failure.type_name == "ExceptionGroup"


def _least(least: float, _: float) -> float:
    return least


def test_a_retry_that_comes_too_late_fails_with_its_cause():
    error = RetryError(cause=ValueError("the reason"))

    verdict = decide(Raised(error), Terms(3, RetryPolicy(max_retries=3)))

    assert isinstance(verdict, Bury)
    assert (verdict.reason, verdict.failure.message) == (DeathReason.FAILED, "the reason")


@given(st.sampled_from(DeathReason), st.text(), st.booleans())
def test_what_cannot_be_run_is_kept_also_without_a_dead_letter_queue(reason, text, dead_letters):
    verdict = decide(Refused(reason, text), Terms(0, RetryPolicy(), dead_letters))

    assert isinstance(verdict, Bury)
    assert (verdict.reason, verdict.failure.message) == (reason, text)


@given(st.integers(1, 50), st.integers(1, 10))
def test_a_message_is_buried_after_the_crashes_allowed_and_suspected_before(deliveries, allowed):
    assert crashed(deliveries, allowed) == (deliveries > allowed)
    assert not (crashed(deliveries, allowed) and suspect(deliveries, allowed))
    assert suspect(deliveries, allowed) == (deliveries == allowed and deliveries > 1)


# -- errors in words ----------------------------------------------------------------------


class MuteError(Exception):
    def __str__(self):
        raise KeyError("no words")


def raised(error):
    try:
        raise error  # noqa: TRY301
    except BaseException as caught:  # noqa: BLE001
        return caught


def test_an_error_is_described_by_type_text_and_traceback():
    failure = describe(raised(ValueError("bad")))

    assert (failure.type_name, failure.message) == ("ValueError", "bad")
    assert failure.traceback.startswith("Traceback (most recent call last)")
    assert failure.traceback.endswith("ValueError: bad\n")


def test_a_type_is_named_with_its_module():
    assert describe(MuteError()).type_name == f"{__name__}.MuteError"


def test_of_a_long_name_the_end_is_kept():
    kind = type("NoLuckError", (Exception,), {"__module__": "deep." * 1000})

    name = describe(kind()).type_name

    assert len(name) == MAX_TYPE
    assert name.endswith(".NoLuckError")


def test_an_error_without_words_is_described_all_the_same():
    failure = describe(raised(MuteError()))

    assert failure.message == "<its text cannot be had: KeyError>"


def test_a_text_that_is_no_utf_8_is_made_so():
    failure = describe(raised(OSError("file \ud800")))

    assert failure.message == "file \\ud800"
    failure.traceback.encode()


def test_an_endless_message_is_cut_so_that_the_outcome_can_be_stored():
    failure = describe(raised(ValueError("\ud800" * 1_000_000)))

    assert len(failure.message) == MAX_ERROR
    assert len(failure.traceback) <= MAX_TRACEBACK


def test_an_endless_recursion_is_described():
    def recurse():
        recurse()

    try:
        recurse()
    except RecursionError as error:
        failure = describe(error)

    assert failure.type_name == "RecursionError"
    assert len(failure.traceback) <= MAX_TRACEBACK


def test_jitter_comes_from_outside():
    policy = RetryPolicy(retry_delay=8)

    verdict = decide(Raised(ValueError()), Terms(0, policy), uniform=lambda low, high: low)

    assert isinstance(verdict, RetryIn)
    assert math.isclose(verdict.delay, 6.0)


def test_a_refusal_s_reason_is_short_whatever_the_message_says():
    verdict = decide(Refused(DeathReason.INVALID_ARGUMENTS, "x" * 10_000), Terms(0, RetryPolicy()))

    assert verdict == Bury(
        DeathReason.INVALID_ARGUMENTS, Failure("invalid-arguments", "x" * MAX_ERROR)
    )


def test_a_refusal_s_reason_is_utf_8_whatever_a_hook_says():
    verdict = decide(Refused(DeathReason.UNUSABLE_RESULT, "\ud800"), Terms(0, RetryPolicy()))

    assert verdict == Bury(DeathReason.UNUSABLE_RESULT, Failure("unusable-result", "\\ud800"))
