import pytest

from chicory.states import BackendType, BrokerType, TaskState, ValidationMode


def test_the_last_four_states_are_final_and_all_but_one_of_these_failed():
    assert [state for state in TaskState if state.final] == list(TaskState)[-4:]
    assert [state for state in TaskState if state.failed] == list(TaskState)[-3:]
    assert not TaskState.SUCCESS.failed


def test_the_states_of_users_programs_exist():
    names = {"PENDING", "STARTED", "SUCCESS", "FAILURE", "RETRY", "DEAD_LETTERED"}

    assert names <= {state.name for state in TaskState}
    assert all(state.name == state.value for state in TaskState)


@pytest.mark.parametrize(
    ("mode", "inputs", "outputs"),
    [
        (ValidationMode.NONE, False, False),
        (ValidationMode.INPUTS, True, False),
        (ValidationMode.OUTPUTS, False, True),
        (ValidationMode.STRICT, True, True),
    ],
)
def test_a_validation_mode_says_what_is_checked(mode, inputs, outputs):
    assert (mode.inputs, mode.outputs) == (inputs, outputs)


def test_every_broker_with_a_name_is_a_backend_with_the_same_name():
    assert [kind.value for kind in BrokerType] == [kind.value for kind in BackendType]
