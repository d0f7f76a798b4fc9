"""Calls with options, on the transport in memory, in a time that stands still."""

from datetime import UTC, datetime, timedelta

import pytest

from chicory import Call, Chicory, RetryPolicy
from chicory import message as messages
from chicory.errors import ConfigurationError, ValidationError
from chicory.message import TaskMessage
from chicory.transport import Priority, Unique

DAY = 86_400


async def add(a: int, b: int = 2) -> int:
    return a + b


@pytest.fixture
def task(app):
    return app.task(name="add", headers={"a": "1"})(add)


async def published(app, queue="default"):
    transport = (await app.broker_link.session()).transport
    return await transport.fetch([queue], 100, 0)


async def test_a_call_with_options_is_published_with_them(app, task):
    special = task.options(
        queue="mail",
        priority=2,
        headers={"b": "2"},
        timeout=5,
        retry_policy=RetryPolicy(max_retries=1),
    )

    handle = await special.delay(1, b=3)

    (delivery,) = await published(app, "mail")
    message = messages.decode_whole(delivery.body)
    assert (delivery.task_id, delivery.priority) == (handle.task_id, Priority.HIGH)
    assert (message.name, message.args, message.kwargs) == ("add", [1], {"b": 3})
    assert message.headers == {"a": "1", "b": "2"}
    assert message.timeout == 5
    assert message.retry_policy.max_retries == 1
    assert repr(special) == "<Task add with options>"


async def test_the_task_itself_stays_as_it_was(app, task):
    task.options(queue="mail", delay=5)

    await task.send(1)

    assert len(await published(app)) == 1


async def test_options_of_options_are_both(app, task):
    await task.options(queue="mail").options(priority=0).send(1)

    (delivery,) = await published(app, "mail")
    assert delivery.priority is Priority.LOW


async def test_a_delay_may_be_of_days_and_is_the_task_s_or_the_call_s(app, task, clock):
    lazy = app.task(name="lazy", delay=2 * DAY)(add)
    eta = datetime.fromtimestamp(clock.now(), UTC) + timedelta(days=1)
    await task.options(eta=eta).send(1)
    await lazy.send(1)
    await lazy.options(delay=None).send(1)

    ready = [await app.broker.get_queue_size()]
    for _ in range(2):
        clock.advance(DAY - 1)
        ready.append(await app.broker.get_queue_size())
        clock.advance(1)
        ready.append(await app.broker.get_queue_size())

    assert ready == [1, 1, 2, 2, 3]


@pytest.mark.parametrize("unique", ["key", lambda a, b=2: f"{a}"])
async def test_a_duplicate_is_the_call_that_lives(app, task, unique):
    once = task.options(unique=unique, delay=DAY)

    first = await once.delay(1)
    second = await once.delay(1, b=7)

    assert (first.duplicate, second.duplicate) == (False, True)
    assert first.task_id == second.task_id == await once.send(1)
    assert not (await task.delay(1)).duplicate


async def test_a_key_is_free_when_its_time_is_over_which_begins_with_the_call(app, task, clock):
    once = task.options(unique="key", unique_ttl=60, delay=DAY)
    first = await once.delay(1)

    clock.advance(DAY + 59)
    assert await once.send(1) == first.task_id
    clock.advance(1)
    assert await once.send(1) != first.task_id


async def test_a_key_that_cannot_be_computed_publishes_nothing(app, task):
    with pytest.raises(ValidationError, match="unique key cannot be computed"):
        await task.options(unique=lambda: "x").send(1)

    assert await published(app) == []


async def test_a_message_by_hand_may_hold_a_key_too(app):
    message = TaskMessage(id="1", name="add", args=[1], unique=Unique("key", 60))
    await app.broker.publish(message)

    await app.broker.publish(TaskMessage(id="2", name="add", unique=Unique("key", 60)))

    assert [one.task_id for one in await published(app)] == ["1"]
    for wrong in (Unique("", 60), Unique("x" * 256, 60), Unique("k", 0), Unique("k", float("inf"))):
        with pytest.raises(ValidationError, match="unique key"):
            await app.broker.publish(TaskMessage(id="3", name="add", unique=wrong))


async def test_a_call_is_checked_by_the_app_that_is_to_send_it(app, task, clock):
    call = task.call("x")

    assert isinstance(call, Call)
    assert repr(call) == "<Call of add>"
    with pytest.raises(ValidationError, match="argument 'a'"):
        call.prepare(app.broker)
    with pytest.raises(ConfigurationError, match="task add is another app's"):
        call.prepare(Chicory("memory://").broker)


async def test_a_function_may_have_attributes_of_any_name(app):
    async def odd() -> None: ...

    odd.delay = odd.send = odd.options = odd.call = odd.result = None

    task = app.task(name="odd")(odd)

    assert (await task.options(priority=2).delay()).task_id


async def test_a_handle_is_no_argument_and_its_id_is(app, task):
    handle = await task.delay(1)

    with pytest.raises(ValidationError, match=r"'a': .*AsyncResult .*: send its task_id"):
        await task.delay(handle)


async def test_a_parameter_may_have_the_name_of_one_of_ours(app):
    @app.task(name="odd")
    async def odd(self: int, name: int) -> int:
        return self + name

    @app.task(name="even")
    def even(self: int) -> int:
        return self

    assert (await odd(self=1, name=2), even(self=3)) == (3, 3)
    for sender in (odd, odd.options(priority=2)):
        await sender.delay(self=1, name=2)
        await sender.send(self=1, name=2)
        assert sender.call(self=1, name=2).kwargs == {"self": 1, "name": 2}
    assert await app.broker.get_queue_size() == 4
