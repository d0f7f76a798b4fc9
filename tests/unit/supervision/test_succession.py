import pytest
from hypothesis import given
from hypothesis import strategies as st

from chicory.supervision.child import epitaph
from chicory.supervision.succession import (
    HOPELESS,
    LONGEST,
    SETTLED,
    SHORTEST,
    GiveUp,
    Leave,
    Replace,
    postponed,
    succession,
)


def test_who_dies_again_and_again_is_replaced_after_doubling_pauses():
    failures, pauses = 0, []
    for _ in range(8):
        decision = succession(1, 0.1, failures, finite=False, worked=True)
        assert isinstance(decision, Replace)
        failures = decision.failures
        pauses.append(decision.delay)

    assert pauses == [0.5, 1, 2, 4, 8, 16, 30, 30]


def test_who_lived_long_enough_is_replaced_as_the_first_time():
    assert succession(-9, SETTLED, 7, finite=False, worked=True) == Replace(SHORTEST, 1)


def test_who_cannot_be_started_is_tried_again_after_the_same_pauses():
    assert postponed(0) == Replace(SHORTEST, 1)
    assert postponed(3) == succession(1, 0.1, 3, finite=False, worked=True)


def test_who_was_recycled_is_replaced_at_once():
    assert succession(0, 1.0, 3, finite=False, worked=True) == Replace(0.0, 0)


def test_who_ends_in_peace_before_it_comes_to_work_is_replaced_after_pauses():
    assert succession(0, 1.0, 3, finite=False, worked=False) == Replace(SHORTEST * 8, 4)


def test_who_has_done_its_work_is_not_replaced():
    assert succession(0, 1.0, 0, finite=True, worked=True) == Leave()


@pytest.mark.parametrize("finite", [True, False])
def test_what_can_never_work_ends_all(finite):
    assert succession(HOPELESS, 0.1, 0, finite=finite, worked=False) == GiveUp(HOPELESS)


@pytest.mark.parametrize("finite", [True, False])
def test_who_worked_and_was_ended_by_a_task_with_that_code_is_replaced(finite):
    decision = succession(HOPELESS, 0.1, 0, finite=finite, worked=True)

    assert decision == Replace(SHORTEST, 1)


@given(
    st.integers(-64, 255).filter(lambda code: code not in {0, HOPELESS}),
    st.floats(0, 1e9),
    st.integers(0, 10_000),
    st.booleans(),
    st.booleans(),
)
def test_a_death_is_always_followed_within_bounds(code, age, failures, finite, worked):
    decision = succession(code, age, failures, finite=finite, worked=worked)

    assert isinstance(decision, Replace)
    assert SHORTEST <= decision.delay <= LONGEST
    assert 1 <= decision.failures <= failures + 1


def test_an_end_is_told_in_words():
    assert epitaph(3) == "exited with code 3"
    assert epitaph(-9) == "was killed by SIGKILL"
    assert epitaph(-250) == "was killed by signal 250"
