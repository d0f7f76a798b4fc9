import copy
import pickle

import pytest

from chicory import errors
from chicory.context import FailTask
from chicory.errors import (
    ChicoryError,
    MaxRetriesExceededError,
    RetryError,
    TaskCancelledError,
    TaskError,
)


@pytest.mark.parametrize(
    ("kind", "shown"),
    [(TaskError, "pkg.Kind: text (task id)"), (TaskCancelledError, "text (task id)")],
)
@pytest.mark.parametrize(
    "again", [copy.copy, copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))]
)
def test_a_task_error_survives_a_copy_and_a_pickle(kind, shown, again):
    error = kind("id", "pkg.Kind", "text", "Traceback ...")

    twin = again(error)

    assert type(twin) is kind
    assert str(twin) == str(error) == shown
    assert vars(twin) == vars(error)


@pytest.mark.parametrize("kind", [RetryError, MaxRetriesExceededError])
def test_a_retry_error_survives_a_copy_and_a_pickle(kind):
    error = kind("text", countdown=5, cause=ValueError("x"))

    for twin in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert (type(twin), str(twin), twin.countdown) == (kind, "text", 5)
        assert isinstance(twin.cause, ValueError)


def test_a_request_to_fail_survives_a_copy():
    twin = copy.copy(FailTask(ValueError("x")))

    assert isinstance(twin.error, ValueError)


def test_the_tree_of_the_page_is_the_tree_of_the_code():
    assert errors.__doc__ is not None
    drawn = [
        line.split("──")[-1].split()[0] for line in errors.__doc__.splitlines() if "Error" in line
    ]
    defined = [
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, ChicoryError)
    ]

    assert sorted(drawn) == sorted(defined)
    assert all(issubclass(getattr(errors, name), ChicoryError) for name in drawn)


def test_a_task_error_without_a_message_says_its_type():
    assert str(TaskError("id", "KeyError", "")) == "KeyError (task id)"
