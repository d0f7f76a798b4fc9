"""Another attempt, or no more: policies, what a task asks for, and dead letters."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest

from chicory import (
    Chicory,
    ChicoryConfig,
    MaxRetriesExceededError,
    RetryBackoff,
    RetryPolicy,
    TaskError,
    TaskState,
    ValidationMode,
    Worker,
)
from chicory.context import TaskContext
from chicory.message import TaskMessage, encode
from chicory.transport import Publication

AT_ONCE = RetryPolicy(max_retries=2, retry_delay=0)


async def test_a_call_is_tried_again_as_often_as_its_policy_allows(app, working):
    attempts = []

    @app.task(name="fail", retry_policy=AT_ONCE)
    async def fail(ctx: TaskContext) -> None:
        attempts.append((ctx.task_id, ctx.retries, ctx.remaining_retries, ctx.is_last_retry))
        raise ValueError("bad")

    async with working():
        handle = await fail.delay()
        with pytest.raises(TaskError, match="bad"):
            await handle.get()
        (letter,) = await app.broker.get_dlq_messages()

    name = handle.task_id
    assert attempts == [(name, 0, 2, False), (name, 1, 1, False), (name, 2, 0, True)]
    assert (letter.reason, letter.error, letter.retry_count) == ("failed", "bad", 2)
    assert letter.original_message is not None
    assert letter.original_message.last_error == "bad"
    assert letter.original_message.first_failure_at is not None
    assert await handle.state() is TaskState.DEAD_LETTERED


async def test_the_next_attempt_waits_in_the_broker_for_its_time(app, working, clock, log):
    policy = RetryPolicy(max_retries=1, retry_delay=100, backoff=RetryBackoff.FIXED, jitter=False)

    @app.task(name="fail", retry_policy=policy)
    async def fail(ctx: TaskContext) -> int:
        if ctx.retries == 0:
            raise ValueError("bad")
        return ctx.retries

    async with working() as worker:
        handle = await fail.delay()
        await log.heard("failed, next attempt in 100 s: ValueError: bad")
        await worker.stop()
    counts = await app.broker.counts(["default"])
    waiting = await handle.state()
    clock.advance(99)
    early = await app.broker.get_queue_size()
    clock.advance(1)
    async with working():
        value = await handle.get()

    assert (counts["default"].delayed, early) == (1, 0)
    assert waiting is TaskState.RETRY
    assert value == 1


@pytest.mark.parametrize(
    ("filters", "attempts"),
    [
        ({"retry_on": [KeyError]}, 3),
        ({"retry_on": ["LookupError"]}, 3),
        ({"retry_on": [ValueError]}, 1),
        ({"ignore_on": ["KeyError"]}, 1),
        ({"retry_on": [LookupError], "ignore_on": [KeyError]}, 1),
    ],
)
async def test_only_what_the_filters_let_pass_is_tried_again(app, working, filters, attempts):
    made = []

    @app.task(name="fail", retry_policy=RetryPolicy(max_retries=2, retry_delay=0, **filters))
    async def fail() -> None:
        made.append(1)
        raise KeyError("gone")

    async with working():
        with pytest.raises(TaskError):
            await (await fail.delay()).get()

    assert len(made) == attempts


async def test_a_task_may_ask_for_another_attempt_at_a_time_of_its_own(app, working, clock, log):
    @app.task(name="ask", retry_policy=RetryPolicy(max_retries=1, retry_delay=0))
    async def ask(ctx: TaskContext) -> str:
        if ctx.retries == 0:
            ctx.retry(countdown=60, exc=ConnectionError("busy"))
        return "now"

    async with working() as worker:
        handle = await ask.delay()
        await log.heard("next attempt in 60 s: ConnectionError: busy")
        await worker.stop()
    delayed = (await app.broker.counts(["default"]))["default"].delayed
    clock.advance(60)
    async with working():
        value = await handle.get()

    assert (delayed, value) == (1, "now")


async def test_asking_for_an_attempt_too_many_ends_the_call_with_the_reason_given(app, working):
    seen = []

    @app.task(name="ask", retry_policy=RetryPolicy(max_retries=1, retry_delay=0))
    async def ask(ctx: TaskContext) -> None:
        try:
            ctx.retry(exc=ConnectionError("still busy"))
        except MaxRetriesExceededError as error:
            seen.append(str(error))
            raise

    async with working():
        with pytest.raises(TaskError, match="still busy") as caught:
            await (await ask.delay()).get()

    assert caught.value.type_name == "ConnectionError"
    assert seen == ["ask: no attempt left after 1 retries"]


async def test_a_task_may_give_up_although_attempts_are_left(app, working):
    attempts = []

    @app.task(name="give_up", retry_policy=AT_ONCE)
    async def give_up(ctx: TaskContext) -> None:
        attempts.append(ctx.retries)
        ctx.fail(ValueError("hopeless"))

    async with working():
        with pytest.raises(TaskError, match="hopeless") as caught:
            await (await give_up.delay()).get()

    assert attempts == [0]
    assert caught.value.type_name == "ValueError"


async def test_without_a_dead_letter_queue_an_exhausted_call_just_fails(app, working):
    @app.task(name="fail")
    async def fail() -> None:
        raise ValueError("bad")

    async with working(use_dead_letter_queue=False):
        handle = await fail.delay()
        with pytest.raises(TaskError, match="bad"):
            await handle.get()
        letters = await app.broker.get_dlq_count()
        state = await handle.state()

    assert (letters, state) == (0, TaskState.FAILURE)


async def test_a_dead_letter_that_is_replayed_runs_with_all_its_retries(app, working):
    attempts = []

    @app.task(name="fail", retry_policy=AT_ONCE)
    async def fail(ctx: TaskContext) -> str:
        attempts.append(ctx.retries)
        if len(attempts) < 4:
            raise ValueError("bad")
        return "mended"

    async with working():
        handle = await fail.delay()
        with pytest.raises(TaskError):
            await handle.get()
        await app.broker.replay_from_dlq(handle.task_id)
        value = await handle.get()

    assert value == "mended"
    assert attempts == [0, 1, 2, 0]


# -- what cannot be run at all ------------------------------------------------------------


def strict(number: int) -> int:
    return number


NEWER = b"\x9f\x02" + b"\xc0" * 14
BODIES = {
    "undecodable": b"\xff\x00 no message",
    "newer-version": NEWER,
    "unknown-task": None,
    "invalid-arguments": None,
}


@pytest.mark.parametrize("dead_letters", [True, False])
@pytest.mark.parametrize("reason", BODIES)
async def test_what_cannot_be_run_is_kept_as_it_came_and_who_waits_is_told(
    app, working, reason, dead_letters
):
    app.task(name="strict", retry_policy=AT_ONCE)(strict)
    messages = {
        "unknown-task": TaskMessage(id="a1", name="nobody"),
        "invalid-arguments": TaskMessage(id="a1", name="strict", args=["one"]),
    }
    body = BODIES[reason] or encode(messages[reason])
    session = await app.broker_link.session()

    async with working(use_dead_letter_queue=dead_letters) as worker:
        await session.transport.publish([Publication("default", "a1", body)])
        with pytest.raises(TaskError) as caught:
            await app.result("a1").get()
        (letter,) = await app.broker.get_dlq_messages()

    assert caught.value.type_name == reason
    assert (letter.message_id, letter.reason, letter.body) == ("a1", reason, body)
    assert letter.error == caught.value.message
    assert await app.result("a1").state() is TaskState.DEAD_LETTERED
    assert worker.get_stats().tasks_failed == 1


@pytest.mark.parametrize("value", [object(), "x" * 2_000_000], ids=["unencodable", "too large"])
async def test_a_result_that_cannot_be_kept_makes_a_dead_letter_without_another_attempt(
    app, working, value
):
    attempts = []

    @app.task(name="give", retry_policy=AT_ONCE)
    async def give():
        attempts.append(1)
        return value

    async with working():
        handle = await give.delay()
        with pytest.raises(TaskError) as caught:
            await handle.get()
        (letter,) = await app.broker.get_dlq_messages()

    assert caught.value.type_name == letter.reason == "unusable-result"
    assert "give" in letter.error
    assert attempts == [1]
    assert letter.original_message is not None


async def test_a_failure_is_told_as_what_it_is_however_small_the_limit_of_results(url, clock):
    app = Chicory(url, clock=clock, config=ChicoryConfig(max_message_size=300))

    @app.task(name="fail", retry_policy=RetryPolicy(max_retries=1, retry_delay=0))
    async def fail(ctx: TaskContext) -> int:
        if ctx.retries == 0:
            raise ValueError("x" * 200)
        return ctx.retries

    async with app, Worker(app):
        with anyio.fail_after(60):
            assert await (await fail.delay()).get() == 1


async def test_validation_of_outputs_makes_a_dead_letter_of_a_wrong_result(app, working):
    @app.task(name="wrong", validation_mode=ValidationMode.STRICT)
    async def wrong() -> int:
        return "one"  # pyright: ignore[reportReturnType]

    async with working():
        with pytest.raises(TaskError, match="return value") as caught:
            await (await wrong.delay()).get()

    assert caught.value.type_name == "unusable-result"


async def test_a_dead_letter_shows_what_every_attempt_failed_of(app, working, clock):
    @app.task(name="fail", retry_policy=RetryPolicy(max_retries=2, retry_delay=0))
    async def fail(ctx: TaskContext) -> None:
        raise ValueError(f"{ctx.attempts}" + "!" * 1000)

    async with working():
        handle = await fail.delay()
        with pytest.raises(TaskError):
            await handle.get()
        (letter,) = await app.broker.get_dlq_messages()
        await app.broker.replay_from_dlq(letter.message_id)
        with pytest.raises(TaskError):
            await handle.get()
        (again,) = await app.broker.get_dlq_messages()

    assert [(one.error_type, one.error[:2]) for one in letter.failures] == [
        ("ValueError", "1!"),
        ("ValueError", "2!"),
        ("ValueError", "3!"),
    ]
    assert [len(one.error) for one in letter.failures[:2]] == [256, 256]
    assert {one.at for one in letter.failures} == {clock.now()}
    assert len(again.failures) == 3
    assert letter.error_type == "ValueError"


async def test_a_letter_of_what_was_not_run_names_no_class(app, working):
    await app.broker.publish(TaskMessage(id="a", name="nowhere"))

    async with working():
        while not (letters := await app.broker.get_dlq_messages()):
            await anyio.lowlevel.checkpoint()

    assert [(one.reason, one.error_type) for one in letters] == [("unknown-task", "")]
    assert [one.error_type for one in letters[0].failures] == [""]


async def test_of_many_failures_the_first_and_the_latest_are_kept(app, working):
    @app.task(name="fail", retry_policy=RetryPolicy(max_retries=30, retry_delay=0))
    async def fail(ctx: TaskContext) -> None:
        raise ValueError(ctx.attempts)

    async with working():
        with pytest.raises(TaskError):
            await (await fail.delay()).get()
        (letter,) = await app.broker.get_dlq_messages()

    assert [one.error for one in letter.failures] == ["1", *map(str, range(22, 32))]


async def test_failures_do_not_make_a_message_too_large(url, working, clock):
    app = Chicory(url, config=ChicoryConfig(max_message_size=600), clock=clock)

    @app.task(name="fail", retry_policy=RetryPolicy(max_retries=2, retry_delay=0))
    async def fail(text: str) -> None:
        raise ValueError("!" * 200)

    async with working(on=app):
        with pytest.raises(TaskError):
            await (await fail.delay("x" * 300)).get()
        (letter,) = await app.broker.get_dlq_messages()
    await app.disconnect()

    assert (letter.retry_count, len(letter.failures)) == (2, 1)


async def test_no_retry_is_due_after_its_time(app, working, clock, log):
    policy = RetryPolicy(max_retries=99, delays=[40], jitter=False, retry_within=100)

    @app.task(name="fail", retry_policy=policy)
    async def fail() -> None:
        raise ValueError("bad")

    async with working():
        handle = await fail.delay()
        for attempt in (1, 2):
            await log.heard("next attempt in 40 s", attempt)
            await delayed(app)
            clock.advance(40)
        with pytest.raises(TaskError, match="bad"):
            await handle.get()
        (letter,) = await app.broker.get_dlq_messages()

    assert letter.retry_count == 2


@pytest.mark.parametrize("countdown", [None, 100])
async def test_a_call_whose_retry_would_be_due_after_its_expiry_is_given_up(
    app, working, countdown
):
    policy = RetryPolicy(max_retries=5, delays=[100], jitter=False)

    @app.task(name="pay", expires=60, retry_policy=policy)
    async def pay(ctx: TaskContext, order: int) -> None:
        if countdown is not None:
            ctx.retry(countdown=countdown, exc=ValueError("card declined"))
        raise ValueError("card declined")

    async with working():
        handle = await pay.delay(7)
        with pytest.raises(TaskError, match="ValueError: card declined"):
            await handle.get()
        (letter,) = await app.broker.get_dlq_messages(error="ValueError")

    assert (letter.reason, letter.error, letter.retry_count) == ("failed", "card declined", 0)
    assert letter.original_message is not None
    assert letter.original_message.args == [7]


async def test_a_retry_that_is_due_before_the_expiry_is_made(app, working, clock):
    policy = RetryPolicy(max_retries=1, delays=[60], jitter=False)

    @app.task(name="pay", expires=60, retry_policy=policy)
    async def pay(ctx: TaskContext) -> int:
        if ctx.retries == 0:
            raise ValueError("card declined")
        return ctx.retries

    async with working():
        handle = await pay.delay()
        await delayed(app)
        clock.advance(60)
        value = await handle.get()

    assert value == 1


@pytest.mark.parametrize("keeps", [True, False])
async def test_a_retry_that_is_fetched_after_its_expiry_ends_the_call_with_what_it_failed_of(
    app, working, clock, keeps
):
    @app.task(name="pay", expires=60, retry_policy=RetryPolicy(delays=[10], jitter=False))
    async def pay(order: int) -> None:
        raise ValueError("card declined")

    async with working(use_dead_letter_queue=keeps):
        handle = await pay.delay(7)
        await delayed(app)
        clock.advance(61)
        with pytest.raises(TaskError, match=r"ValueError: expired before .*: card declined"):
            await handle.get()
        letters = await app.broker.get_dlq_messages(error="ValueError")

    assert [(letter.reason, letter.retry_count) for letter in letters] == [("failed", 1)] * keeps
    assert await handle.state() is (TaskState.DEAD_LETTERED if keeps else TaskState.FAILURE)


async def test_a_retry_by_hand_that_has_expired_is_a_dead_letter_that_tells_as_much(app, working):
    message = TaskMessage(id="a1", name="pay", retries=2, expires_at=1.0)

    async with working():
        await app.broker.publish(message)
        with pytest.raises(TaskError, match="expired before its next attempt: no error is known"):
            await app.result("a1").get()
        (letter,) = await app.broker.get_dlq_messages()

    assert (letter.reason, letter.error_type, letter.retry_count) == ("failed", "", 2)


async def test_of_a_call_that_snoozed_past_its_expiry_nobody_says_that_it_did_not_run(
    app, working, clock
):
    @app.task(name="nap", expires=10)
    async def nap(ctx: TaskContext) -> None:
        ctx.snooze(20)

    async with working():
        handle = await nap.delay()
        await delayed(app)
        clock.advance(20)
        with pytest.raises(TaskError, match="expired: not begun any more"):
            await handle.get()

    assert await handle.state() is TaskState.FAILURE


async def test_a_replayed_call_holds_its_key_for_its_time_without_the_first_delay(
    app, working, clock
):
    @app.task(name="once", unique="key", unique_ttl=60, delay=86_400)
    async def once() -> None:
        raise ValueError("bad")

    await once.delay()
    clock.advance(86_400)
    for _ in range(2):  # also one that was replayed before
        async with working():
            while not (letters := await app.broker.get_dlq_messages()):
                await anyio.lowlevel.checkpoint()
        assert await app.broker.replay_from_dlq(letters[0].message_id)
    clock.advance(59)
    still = await once.delay()
    clock.advance(2)
    free = await once.delay()

    assert (still.duplicate, free.duplicate) == (True, False)


async def delayed(app: Chicory) -> None:
    while (await app.broker.counts(["default"]))["default"].delayed == 0:
        await anyio.lowlevel.checkpoint()


@pytest.mark.parametrize("asked", ["retry", "fail", "snooze"])
async def test_a_task_may_ask_from_within_a_task_group_of_its_own(app, working, asked):
    attempts = []

    async def ask(ctx: TaskContext) -> None:
        if asked == "fail":
            ctx.fail("no such order")
        if asked == "retry":
            ctx.retry(countdown=0)
        ctx.snooze(0)

    @app.task(name="work", retry_policy=RetryPolicy(max_retries=2, retry_delay=10_000))
    async def work(ctx: TaskContext) -> str:
        attempts.append(ctx.attempts)
        if len(attempts) == 1:
            async with anyio.create_task_group() as group:
                group.start_soon(anyio.sleep_forever)
                group.start_soon(ask, ctx)
        return "done"

    async with working():
        handle = await work.delay()
        if asked == "fail":
            with pytest.raises(TaskError, match=r"RuntimeError: no such order"):
                await handle.get()
        else:
            assert await handle.get() == "done"

    assert attempts == {"retry": [1, 2], "fail": [1], "snooze": [1, 1]}[asked]
