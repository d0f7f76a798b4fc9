import math

import pytest

from chicory import Chicory
from chicory.errors import ConfigurationError
from chicory.options import TaskOptions
from chicory.retry import NO_RETRIES, RetryPolicy
from chicory.states import DeliveryMode, ValidationMode
from chicory.transport import Priority

WRONG = [
    ({"name": ""}, "text of 1 to 255 characters or None"),
    ({"name": 5}, "text of 1 to 255 characters or None"),
    ({"retry_policy": 3}, r"a RetryPolicy\(...\)"),
    ({"retry_policy": RetryPolicy}, r"a RetryPolicy\(...\)"),
    ({"delivery_mode": "sometimes"}, "one of at_least_once, at_most_once"),
    ({"validation_mode": "maybe"}, "one of none, inputs, outputs, strict"),
    ({"ignore_result": "no"}, "true or false"),
    ({"queue": ""}, "text of 1 to 255 characters"),
    ({"queue": "q" * 256}, "text of 1 to 255 characters"),
    ({"queue": None}, "text of 1 to 255 characters"),
    ({"timeout": 0}, "a number above 0 or None"),
    ({"timeout": -1.5}, "a number above 0 or None"),
    ({"timeout": "5"}, "a number above 0 or None"),
    ({"timeout": math.nan}, "a number above 0 or None"),
    ({"expires": 0}, "a number above 0 or None"),
    ({"expires": True}, "a number above 0 or None"),
]


@pytest.mark.parametrize(("option", "accepted"), WRONG, ids=str)
def test_a_wrong_option_is_named_with_what_is_accepted(option, accepted):
    (name,) = option

    with pytest.raises(ConfigurationError, match=rf"^@app\.task\({name}=.*\): must be {accepted}$"):
        Chicory("memory://").task(**option)


@pytest.mark.parametrize("priority", ["high", -1, 3, None, 1.5])
def test_a_wrong_priority_is_named_with_what_is_accepted(priority):
    with pytest.raises(ConfigurationError, match=r"priority=.*0 is low, 1 normal, 2 high"):
        Chicory("memory://").task(priority=priority)


def test_words_do_for_modes():
    options = TaskOptions(delivery_mode="at_most_once", validation_mode="strict")

    assert options.delivery_mode is DeliveryMode.AT_MOST_ONCE
    assert options.validation_mode is ValidationMode.STRICT


def test_the_defaults_are_those_of_the_page():
    options = TaskOptions()

    assert options.policy is NO_RETRIES
    assert (options.queue, options.priority) == ("default", Priority.NORMAL)
    assert (options.timeout, options.expires, options.ignore_result) == (None, None, False)


def test_the_app_s_modes_hold_for_tasks_that_name_none():
    app = Chicory(
        "memory://",
        validation_mode=ValidationMode.STRICT,
        delivery_mode=DeliveryMode.AT_MOST_ONCE,
    )

    @app.task(name="a")
    def a(): ...

    @app.task(
        name="b", validation_mode=ValidationMode.NONE, delivery_mode=DeliveryMode.AT_LEAST_ONCE
    )
    def b(): ...

    assert (a.options.validation_mode, a.options.delivery_mode) == ("strict", "at_most_once")
    assert (b.options.validation_mode, b.options.delivery_mode) == ("none", "at_least_once")


@pytest.mark.parametrize("field", ["name", "queue"])
def test_a_name_that_steers_terminals_is_refused(field):
    with pytest.raises(
        ConfigurationError, match=rf"^@app.task\({field}='a.x1bb'\): must be without"
    ):
        TaskOptions(**{field: "a\x1bb"})
