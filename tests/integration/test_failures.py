"""What a failure says where its result is awaited: all that was said where it happened."""

from __future__ import annotations

import traceback
from collections.abc import AsyncIterator
from uuid import uuid4

import anyio
import pytest

from chicory import Chicory, ChicoryConfig, RetryPolicy, TaskError, Worker, WorkerConfig
from chicory.outcome import MAX_ERROR, MAX_TRACEBACK
from chicory.testing.memory import forget

PATIENCE = 60


class NoLuckError(Exception):
    """A class of the user's own."""


class WorseError(NoLuckError):
    """A subclass of it."""


@pytest.fixture
async def app(no_settings: None) -> AsyncIterator[Chicory]:
    name = uuid4().hex
    app = Chicory(f"memory://{name}", config=ChicoryConfig(namespace=uuid4().hex))
    with anyio.fail_after(PATIENCE):
        async with app, Worker(app, WorkerConfig(concurrency=2)):
            yield app
    forget(name)


def deeper() -> None:
    raise KeyError("euro")


async def failure(app: Chicory, function, **options) -> TaskError:
    task = app.task(name=function.__name__, **options)(function)
    handle = await task.delay()
    with pytest.raises(TaskError) as caught:
        await handle.get()
    return caught.value


async def test_a_cause_is_shown_with_both_tracebacks(app):
    async def explicit() -> None:
        try:
            deeper()
        except KeyError as error:
            raise WorseError("no price") from error

    error = await failure(app, explicit)

    shown = "".join(traceback.format_exception(error))
    assert error.type_name.endswith("WorseError")
    assert error.message == "no price"
    assert "KeyError: 'euro'" in shown
    assert "in deeper" in shown
    assert "The above exception was the direct cause of" in shown
    assert "no price" in error.remote_traceback.splitlines()[-1]
    assert "chicory/worker" not in error.remote_traceback


async def test_what_was_handled_meanwhile_is_shown_in_a_thread_too(app):
    def implicit() -> None:
        try:
            deeper()
        except KeyError:
            raise WorseError("no price")  # noqa: B904

    error = await failure(app, implicit)

    assert "During handling of the above exception" in error.remote_traceback
    assert "in deeper" in error.remote_traceback


async def test_notes_and_groups_are_shown(app):
    async def several() -> None:
        first, second = ValueError("left"), WorseError("right")
        second.add_note("it rained")
        raise ExceptionGroup("both sides", [first, second])

    error = await failure(app, several)

    assert error.type_name == "ExceptionGroup"
    assert error.message == "both sides (2 sub-exceptions)"
    for text in ("ValueError: left", "WorseError: right", "it rained"):
        assert text in error.remote_traceback


async def test_who_raises_from_it_shows_the_worker_s_traceback(app):
    async def fails() -> None:
        deeper()

    error = await failure(app, fails)
    local = RuntimeError("no order")
    local.__cause__ = error  # as raise ... from does
    shown = "".join(traceback.format_exception(local))

    assert "in deeper" in shown
    assert "In the worker " in shown
    assert shown.rstrip().endswith("RuntimeError: no order")


async def test_what_is_said_is_bounded_and_keeps_the_end_of_the_traceback(app):
    async def endless() -> None:
        error = WorseError("x" * 10 * MAX_ERROR)
        for number in range(300):
            error.add_note(f"note {number} " + "y" * 1_000)
        raise error

    error = await failure(app, endless)

    assert len(error.message) == MAX_ERROR
    assert len(error.remote_traceback) <= MAX_TRACEBACK
    assert "note 299" in error.remote_traceback


@pytest.mark.parametrize(
    ("policy", "attempts"),
    [
        ({"retry_on": [NoLuckError]}, 3),
        ({"retry_on": [Exception]}, 3),
        ({"retry_on": ["NoLuckError"]}, 3),
        ({"retry_on": [f"{__name__}.NoLuckError"]}, 3),
        ({"retry_on": ["Exception"]}, 3),
        ({"retry_on": ["builtins.Exception"]}, 3),
        ({"retry_on": lambda error: "luck" in str(error)}, 3),
        ({"retry_on": lambda error: "price" in str(error)}, 1),
        ({"retry_on": [KeyError, "OSError"]}, 1),
        ({"ignore_on": [NoLuckError]}, 1),
        ({"ignore_on": ["NoLuckError"]}, 1),
        ({"ignore_on": [KeyError]}, 3),
        ({"retry_on": [Exception], "ignore_on": [WorseError]}, 1),
    ],
)
async def test_filters_take_a_class_for_its_subclasses_by_class_and_by_name(app, policy, attempts):
    async def fails() -> None:
        raise WorseError("no luck")

    await failure(app, fails, retry_policy=RetryPolicy(max_retries=2, retry_delay=0, **policy))

    (letter,) = await app.broker.get_dlq_messages()
    assert letter.retry_count == attempts - 1
    assert len(letter.failures) == attempts
    assert {one.error_type for one in letter.failures[:-1]} <= {f"{__name__}.WorseError"}
    assert [one.error for one in letter.failures] == ["no luck"] * attempts
