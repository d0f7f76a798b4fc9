"""Messages and hooks of users that are made to hurt: each call ends, and its worker does not."""

from __future__ import annotations

import logging
from datetime import datetime

import pytest

from chicory import RetryPolicy, TaskError, TaskMessage, rules
from chicory.message import encode
from chicory.rules import RetryRules
from chicory.transport import Publication

NOT_SENSIBLE = RetryRules(delays=[])
YEAR_ONE = datetime.min  # noqa: DTZ901  (without a time zone, as foreign producers may write it)


async def sent(app, body: bytes):
    """A call as a foreign producer writes it: nothing is checked."""
    session = await app.broker_link.session()
    await session.transport.publish([Publication("default", "a1", body)])
    return app.result("a1")


async def runs_on(app) -> bool:
    """Whether the worker does what comes next."""
    return await (await app.tasks["next"].delay()).get() == "done"


@pytest.fixture
def app(app):
    @app.task(name="next")
    async def following() -> str:
        return "done"

    @app.task(name="fail", retry_policy=RetryPolicy(max_retries=0))
    async def fail() -> None:
        raise ValueError("bad")

    return app


@pytest.mark.parametrize("more", [{}, {"expires_at": 1.0}])
async def test_a_retry_policy_without_sense_makes_a_dead_letter(app, working, more):
    message = TaskMessage(id="a1", name="fail", retry_policy=NOT_SENSIBLE, **more)

    async with working():
        call = await sent(app, encode(message))
        with pytest.raises(TaskError, match=r"length >= 1 - at .*delays"):
            await call.get()
        (letter,) = await app.broker.get_dlq_messages()
        assert await runs_on(app)

    assert letter.reason == "undecodable"


@pytest.fixture
def no_policy(monkeypatch):
    """As if what travels with a call could be decoded and made no policy all the same."""

    def read(_: RetryRules) -> RetryPolicy:
        raise ValueError("no policy")

    monkeypatch.setattr(rules, "read", read)


@pytest.mark.parametrize(
    ("name", "more", "reason"),
    [
        ("fail", {"expires_at": 1.0}, "expired"),
        ("fail", {"args": [1]}, "invalid-arguments"),
        ("nobody", {}, "unknown-task"),
        ("fail", {}, "no policy"),
    ],
)
async def test_an_ending_asks_for_the_terms_of_retries_only_where_it_is_one_of_them(
    app, working, no_policy, name, more, reason
):
    message = TaskMessage(id="a1", name=name, retry_policy=RetryRules(), **more)

    async with working():
        call = await sent(app, encode(message))
        with pytest.raises(TaskError, match=reason):
            await call.get()
        assert await runs_on(app)


async def test_a_retry_on_that_would_end_the_worker_ends_the_call(app, working):
    def leave(error: BaseException) -> bool:
        raise SystemExit("I leave")

    @app.task(name="leave", retry_policy=RetryPolicy(retry_on=leave))
    async def failing() -> None:
        raise ValueError

    async with working():
        with pytest.raises(TaskError, match="I leave"):
            await (await failing.delay()).get()
        assert await runs_on(app)


async def test_a_first_failure_in_the_year_one_is_one_in_utc(app, working):
    message = TaskMessage(id="a1", name="fail", first_failure_at=YEAR_ONE)

    async with working():
        call = await sent(app, encode(message))
        with pytest.raises(TaskError, match="bad"):
            await call.get()
        assert await runs_on(app)


async def test_an_eta_in_the_year_one_is_measured_as_one_in_utc(app, working):
    message = TaskMessage(id="a1", name="next", eta=YEAR_ONE, enqueued_at=1.0)

    async with working(health_port=0):
        assert await (await sent(app, encode(message))).get() == "done"
        assert await runs_on(app)


class Broken(logging.Filter):
    def filter(self, record):
        return bool(record.user_id)  # which no record of chicory's has


@pytest.mark.parametrize("name", ["chicory.task", "chicory.worker"])
async def test_a_filter_of_log_lines_that_raises_ends_nothing_but_the_line(
    app, working, log, capfd, name
):
    logger, broken = logging.getLogger(name), Broken()
    logger.addFilter(broken)
    try:
        async with working():
            with pytest.raises(TaskError, match="bad"):
                await (await app.tasks["fail"].delay()).get()
            logger.removeFilter(broken)
            assert await runs_on(app)
    finally:
        logger.removeFilter(broken)

    assert "AttributeError: 'LogRecord' object has no attribute 'user_id'" in capfd.readouterr().err
