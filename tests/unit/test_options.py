import math
from datetime import UTC, datetime, timedelta

import pytest
from msgspec import UNSET

from chicory import Chicory
from chicory.errors import ConfigurationError
from chicory.options import TaskOptions
from chicory.retry import LONGEST_DELAY, NO_RETRIES, RetryPolicy
from chicory.states import DeliveryMode, ValidationMode
from chicory.transport import Priority


def work() -> None: ...


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
    ({"timeout": 0}, "a number above 0 up to 1000000000 or None"),
    ({"timeout": -1.5}, "a number above 0 up to 1000000000 or None"),
    ({"timeout": "5"}, "a number above 0 up to 1000000000 or None"),
    ({"timeout": math.nan}, "a number above 0 up to 1000000000 or None"),
    ({"timeout": math.inf}, "a number above 0 up to 1000000000 or None"),
    ({"timeout": LONGEST_DELAY * 2}, "a number above 0 up to 1000000000 or None"),
    ({"expires": 0}, "a number above 0 up to 1000000000 or None"),
    ({"expires": True}, "a number above 0 up to 1000000000 or None"),
    ({"delay": -1}, "a number from 0 to 1000000000 or None"),
    ({"delay": math.nan}, "a number from 0 to 1000000000 or None"),
    ({"delay": math.inf}, "a number from 0 to 1000000000 or None"),
    ({"delay": timedelta(1)}, "a number from 0 to 1000000000 or None"),
    ({"unique": ""}, "text of 1 to 255 characters"),
    ({"unique": "x" * 10_240}, "text of 1 to 255 characters"),
    ({"unique": ["a"]}, "text of 1 to 255 characters"),
    ({"unique": True}, "text of 1 to 255 characters"),
    ({"unique_ttl": 0}, "a number above 0 up to 1000000000 or None"),
    ({"headers": {"a": 1}}, "a mapping of text to text"),
    ({"headers": ["a"]}, "a mapping of text to text"),
    ({"headers": {"a": "\udc80"}}, "without lone surrogates, which cannot be sent"),
    ({"headers": {"\udc80": "a"}}, "without lone surrogates, which cannot be sent"),
    ({"name": "\udc80"}, "without lone surrogates, which cannot be sent"),
    ({"queue": "\udc80"}, "without lone surrogates, which cannot be sent"),
    ({"unique": "\udc80"}, "without lone surrogates, which cannot be sent"),
]
OF_CALLS = [
    *(
        (option, accepted)
        for option, accepted in WRONG
        if not {"name", "delivery_mode", "validation_mode", "ignore_result"} & option.keys()
    ),
    ({"eta": 5.0}, "a datetime with a time zone"),
    ({"eta": "tomorrow"}, "a datetime with a time zone"),
]


@pytest.mark.parametrize(("option", "accepted"), WRONG, ids=str)
def test_a_wrong_option_is_named_with_what_is_accepted(option, accepted):
    (name,) = option

    with pytest.raises(ConfigurationError, match=rf"^@app\.task\({name}=.*\): must be {accepted}$"):
        Chicory("memory://").task(**option)


@pytest.mark.parametrize(("option", "accepted"), OF_CALLS, ids=str)
def test_a_wrong_option_of_a_call_is_refused_before_it_is_called(app, option, accepted):
    task = app.task(name="t")(work)
    (name,) = option

    with pytest.raises(ConfigurationError, match=rf"^options\({name}=.*\): must be {accepted}$"):
        task.options(**option)


@pytest.mark.parametrize("priority", ["high", -1, 3, None, 1.5, True])
def test_a_wrong_priority_of_a_call_is_named_with_what_is_accepted(app, priority):
    with pytest.raises(ConfigurationError, match=r"^options\(priority=.*0 is low, 1 normal, 2 hi"):
        app.task(name="t")(work).options(priority=priority)


def test_a_moment_without_a_time_zone_is_refused(app):
    with pytest.raises(ConfigurationError, match=r"^options\(eta=.*no time zone.*datetime.now\("):
        app.task(name="t")(work).options(eta=datetime(2030, 1, 1))  # noqa: DTZ001


def test_a_moment_beyond_reason_is_refused(app):
    with pytest.raises(ConfigurationError, match=r"^options\(eta=9000-01-01.*than 1000000000 s"):
        app.task(name="t")(work).options(eta=datetime(9000, 1, 1, tzinfo=UTC))


def test_a_policy_that_cannot_travel_is_refused_before_a_call_is_made(app):
    policy = RetryPolicy(retry_on=lambda error: isinstance(error, OSError))
    task = app.task(name="work", retry_policy=policy)(work)  # it need not travel

    with pytest.raises(ConfigurationError, match="retry_policy: a function cannot travel"):
        task.options(retry_policy=policy)


def test_a_delay_and_a_moment_are_one_too_many(app):
    with pytest.raises(ConfigurationError, match=r"delay=..., eta=...\): give one of the two"):
        app.task(name="t")(work).options(delay=1, eta=datetime.now(UTC))


@pytest.mark.parametrize("name", ["dealy", "executor"])
def test_an_unknown_option_is_refused(app, name):
    with pytest.raises(TypeError, match=f"'{name}'"):
        app.task(name="t")(work).options(**{name: "thread"})


def test_an_unknown_option_of_a_task_is_refused(app):
    with pytest.raises(TypeError, match="'nmae'"):
        app.task(nmae="t")


def test_a_long_value_is_cut_off(app):
    cut = f"'{'x' * 39}..."

    with pytest.raises(ConfigurationError, match=rf"^options\(queue={cut}\): must be"):
        app.task(name="t")(work).options(queue="x" * 256)


def test_a_key_needs_a_task_that_is_settled_after_it_ran(app):
    once = app.task(name="once", delivery_mode=DeliveryMode.AT_MOST_ONCE)(work)

    with pytest.raises(ConfigurationError, match=r"^options\(unique=.*would release the key"):
        once.options(unique="key")
    with pytest.raises(ConfigurationError, match=r"^@app.task\(unique=.*would release the key"):
        app.task(unique="key", delivery_mode=DeliveryMode.AT_MOST_ONCE)(work)


def test_options_of_a_call_are_those_of_the_task_but_for_what_is_said():
    task = TaskOptions(queue="mail", priority=2, expires=5, headers={"a": "1", "b": "1"}, delay=3)

    altered = task.of_calls.altered({"priority": 0, "expires": None, "headers": {"b": "2"}})

    assert (altered.queue, altered.priority, altered.delay) == ("mail", Priority.LOW, 3)
    assert altered.expires is None
    assert altered.headers == {"a": "1", "b": "2"}
    assert (altered.timeout, altered.retry_policy) == (UNSET, UNSET)


def test_a_moment_takes_the_place_of_a_delay_and_the_other_way_round():
    moment = datetime(2030, 1, 1, tzinfo=UTC)
    delayed = TaskOptions(delay=3).of_calls

    dated = delayed.altered({"eta": moment})
    again = dated.altered({"delay": 7})

    assert (dated.delay, dated.eta) == (None, moment)
    assert (again.delay, again.eta) == (7, None)


@pytest.mark.parametrize("priority", ["high", -1, 3, None, 1.5])
def test_a_wrong_priority_is_named_with_what_is_accepted(priority):
    with pytest.raises(ConfigurationError, match=r"priority=.*0 is low, 1 normal, 2 high"):
        Chicory("memory://").task(priority=priority)


def test_words_do_for_modes():
    options = TaskOptions(delivery_mode="at_most_once", validation_mode="strict")

    assert options.delivery_mode is DeliveryMode.AT_MOST_ONCE
    assert options.validation_mode is ValidationMode.STRICT

    app = Chicory("memory://", delivery_mode="at_most_once", validation_mode="strict")
    assert app.delivery_mode is DeliveryMode.AT_MOST_ONCE
    assert app.validation_mode is ValidationMode.STRICT


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

    assert (a.settings.validation_mode, a.settings.delivery_mode) == ("strict", "at_most_once")
    assert (b.settings.validation_mode, b.settings.delivery_mode) == ("none", "at_least_once")


@pytest.mark.parametrize("field", ["name", "queue"])
def test_a_name_that_steers_terminals_is_refused(field):
    with pytest.raises(
        ConfigurationError, match=rf"^@app.task\({field}='a.x1bb'\): must be without"
    ):
        TaskOptions(**{field: "a\x1bb"})
