"""What bad input gets, on every broker: one clear error, and nothing is published."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import anyio
import pytest

from chicory import Chicory, ChicoryConfig, Refused, RetryPolicy, TaskError, Worker, WorkerConfig
from chicory.errors import ChicoryError, ConfigurationError, ValidationError
from chicory.message import TaskMessage

PATIENCE = 60
LONG = "k" * 10_240
LATER = datetime.now(UTC) + timedelta(days=36_500)


@pytest.fixture
async def app(url: str) -> AsyncIterator[Chicory]:
    app = Chicory(url, config=ChicoryConfig(namespace=uuid4().hex))
    with anyio.fail_after(PATIENCE):
        async with app:
            yield app


OPTIONS = [
    ({"delay": -1}, r"options\(delay=-1\): must be a number from 0"),
    ({"delay": 1e12}, r"options\(delay=1000000000000\.0\): must be a number from 0"),
    ({"delay": math.inf}, r"options\(delay=inf\): must be"),
    ({"delay": math.nan}, r"options\(delay=nan\): must be"),
    ({"delay": "60"}, r"options\(delay='60'\): must be"),
    ({"eta": datetime(2031, 1, 1)}, r"has no time zone, so that it could mean several times"),  # noqa: DTZ001
    ({"eta": LATER}, r"is more than 1000000000 s from now"),
    ({"eta": 60}, r"must be a datetime with a time zone"),
    ({"eta": datetime.now(UTC), "delay": 1}, r"give one of the two"),
    ({"priority": 3}, r"0 is low, 1 normal, 2 high"),
    ({"priority": "urgent"}, r"0 is low, 1 normal, 2 high"),
    ({"unique": LONG}, r"options\(unique='kkk.*: must be text of 1 to 255 characters"),
    ({"unique": ["a"]}, r"options\(unique=\['a'\]\): must be text"),
    ({"unique": ""}, r"must be text of 1 to 255 characters"),
    ({"timeout": 0}, r"options\(timeout=0\): must be a number above 0"),
    ({"timeout": -1}, r"options\(timeout=-1\): must be a number above 0"),
    ({"expires": 0}, r"options\(expires=0\): must be a number above 0"),
    ({"queue": ""}, r"options\(queue=''\): must be text of 1 to 255 characters"),
    ({"queue": LONG}, r"must be text of 1 to 255 characters"),
    ({"queue": "a\nb"}, r"must be without control characters"),
    ({"headers": {"a": 1}}, r"must be a mapping of text to text"),
    ({"retry_policy": 3}, r"must be a RetryPolicy"),
    ({"retry_policy": RetryPolicy(retry_on=callable)}, r"function"),
]
KEYS = [
    (lambda _: LONG, r"t: unique key 'kkk.*: must be text of 1 to 255 characters"),
    (lambda _: ["a"], r"t: unique key \['a'\]: must be text"),
    (lambda _: 5, r"t: unique key 5: must be text"),
    (lambda _: "\ud800", r"t: unique key '\\ud800': must be text"),
    (lambda _: {}["a"], r"t: unique key cannot be computed: KeyError: 'a'"),
]


async def nothing(app: Chicory) -> bool:
    return not await app.broker.counts()


async def test_an_option_that_makes_no_sense_is_refused_before_anything_is_published(app):
    @app.task(name="t")
    async def task(value: int) -> None: ...

    for options, text in OPTIONS:
        with pytest.raises(ConfigurationError, match=text) as caught:
            await task.options(**options).delay(1)
        assert "\n" not in str(caught.value)
    for key, text in KEYS:
        keyed = task.options(unique=key)
        with pytest.raises(ValidationError, match=text) as caught:
            await keyed.delay(1)
        assert "\n" not in str(caught.value)
        (refused,) = [one async for one in app.enqueue_many([keyed.call(1)])]
        assert isinstance(refused, Refused)
        assert isinstance(refused.error, ValidationError)

    assert await nothing(app)


async def test_arguments_that_cannot_be_sent_are_refused_before_anything_is_published(app):
    @app.task(name="t")
    async def task(value: int, text: str = "") -> None: ...

    for args, text in [
        (("1",), r"t: argument 'value': Expected `int`, got `str`"),
        ((), r"t: argument 'value' is missing"),
        ((1, "a", 3), r"t: takes 2 positional arguments, got 3"),
        ((object(),), r"t: argument 'value': builtins\.object cannot be sent"),
        ((2**64,), r"t: argument 'value': "),
        ((1, "\ud800"), r"t: argument 'text': "),
        ((1, "x" * 2**20), r"'t' has 1,0\d\d,\d\d\d bytes, the limit is 1,048,576"),
    ]:
        with pytest.raises(ChicoryError, match=text) as caught:
            await task.delay(*args)
        assert "\n" not in str(caught.value)

    assert await nothing(app)


async def test_a_task_of_another_app_is_refused(app, url):
    other = Chicory(url, config=ChicoryConfig(namespace=uuid4().hex))

    @other.task(name="t")
    async def task(value: int) -> None: ...

    (refused,) = [one async for one in app.enqueue_many([task.options(delay=5).call(1)])]

    assert isinstance(refused, Refused)
    assert "task t is another app's: enqueue it with that one" in str(refused.error)
    assert await nothing(app)


async def test_a_message_by_hand_is_looked_at_too(app):
    for message, queue in [
        (TaskMessage(id="", name="t"), "default"),
        (TaskMessage(id=LONG, name="t"), "default"),
        (TaskMessage(id="a", name="t", args=[object()]), "default"),
        (TaskMessage(id="a", name="t", priority=-1), "default"),
        (TaskMessage(id="a", name="t"), ""),
    ]:
        with pytest.raises(ChicoryError) as caught:
            await app.broker.publish(message, queue)
        assert "\n" not in str(caught.value)

    assert await nothing(app)


async def test_a_result_that_cannot_be_encoded_is_a_failure_that_names_task_and_type(app):
    @app.task(name="t")
    async def task() -> object:
        return object()

    async with Worker(app, WorkerConfig(concurrency=1)):
        handle = await task.delay()
        with pytest.raises(TaskError, match=r"t: return value: builtins\.object cannot be sent"):
            await handle.get()

    (letter,) = await app.broker.get_dlq_messages()
    assert letter.reason == "unusable-result"
    assert letter.error_type == ""
