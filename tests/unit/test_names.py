"""A name is any text that every broker can store, or it is refused before a broker hears of it."""

from uuid import uuid4

import pytest
from anyio import fail_after
from msgspec.structs import replace

from chicory import Chicory, TaskMessage, Worker, WorkerConfig
from chicory.accepted import is_plain
from chicory.errors import ConfigurationError, MessageError, ValidationError
from chicory.message import decode, encode
from chicory.names import check_name, check_plain
from chicory.record import TaskResult
from chicory.states import TaskState
from chicory.testing.contract.text import ODD

TOO_LONG = "x" * 10_240
REFUSED = ["", "x" * 256, TOO_LONG, "a\ud800b", "\udcff", None, 3, b"a"]
NAMES = ["", TOO_LONG, "a\ud800b"]


@pytest.fixture
async def app():
    async with Chicory(f"memory://{uuid4().hex}") as app:
        yield app


def test_any_text_is_a_name():
    for name in ODD:
        check_name(name, "queue")


@pytest.mark.parametrize("name", ["a\nb", "a\x00b", "\x1b[2J"])
async def test_none_is_given_that_steers_a_terminal(app, name):
    check_name(name, "queue")  # what others put there can be purged
    with pytest.raises(ValidationError, match=r"queue .*must be without control characters"):
        check_plain(name, "queue")
    with pytest.raises(ValidationError, match="control characters"):
        await app.broker.publish(TaskMessage(id="1", name="t"), name)
    with pytest.raises(ValidationError, match="control characters"):
        await app.broker.replay_from_dlq("1", name)


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_none_is_refused_in_one_short_line(name):
    with pytest.raises(ValidationError, match=r"queue .*must be text of 1 to 255") as raised:
        check_name(name, "queue")

    assert len(str(raised.value)) < 120
    assert str(raised.value).isprintable()


QUEUES = {
    "publish": lambda app, name: app.broker.publish(TaskMessage(id="1", name="t"), name),
    "counts": lambda app, name: app.broker.counts([name]),
    "get_queue_size": lambda app, name: app.broker.get_queue_size(name),
    "pause": lambda app, name: app.broker.pause(name),
    "resume": lambda app, name: app.broker.resume(name),
    "purge_queue": lambda app, name: app.broker.purge_queue(name),
    "purge_dlq": lambda app, name: app.broker.purge_dlq(name),
    "get_dlq_messages": lambda app, name: app.broker.get_dlq_messages(name),
    "get_dlq_count": lambda app, name: app.broker.get_dlq_count(name),
    "replay": lambda app, name: app.broker.replay_from_dlq("1", name),
}
IDS = {
    "after": lambda app, name: app.broker.get_dlq_messages(after=name),
    "get_dlq_message": lambda app, name: app.broker.get_dlq_message(name),
    "replay": lambda app, name: app.broker.replay_from_dlq(name),
    "delete_from_dlq": lambda app, name: app.broker.delete_from_dlq(name),
    "state": lambda app, name: app.backend.state(name),
    "get_result": lambda app, name: app.backend.get_result(name),
    "delete_result": lambda app, name: app.backend.delete_result(name),
    "store_result": lambda app, name: app.backend.store_result(
        name, TaskResult(task_id="1", state=TaskState.SUCCESS)
    ),
    "store_heartbeat": lambda app, name: app.backend.store_heartbeat(name, Worker(app).get_stats()),
}


@pytest.mark.parametrize("verb", [*QUEUES.items(), *IDS.items()], ids=lambda verb: verb[0])
async def test_no_door_lets_it_in(app, verb):
    for name in NAMES:
        with pytest.raises(ValidationError, match="must be text of 1 to 255"):
            await verb[1](app, name)


async def test_one_name_in_place_of_a_list_is_no_list_of_its_letters(app):
    with pytest.raises(ValidationError, match=r"^queues='mail': .*: write queues=\['mail'\]$"):
        await app.broker.counts("mail")


async def test_no_handle_is_given_for_it(app):
    for name in NAMES:
        with pytest.raises(ValidationError, match="task id"):
            app.result(name)


async def test_a_message_that_no_worker_could_read_is_not_published(app):
    good = TaskMessage(id="1", name="t")
    for bad in (
        replace(good, id=""),
        replace(good, id=TOO_LONG),
        replace(good, id="\ud800"),
        replace(good, name=TOO_LONG),
        replace(good, name="\ud800"),
        replace(good, retries=2**31),
    ):
        with pytest.raises(MessageError):
            await app.broker.publish(bad)

    assert await app.broker.counts() == {}


def test_a_long_name_of_a_task_is_refused_where_it_is_given():
    with pytest.raises(ConfigurationError, match=r"@app.task\(name='xxx.*255"):
        Chicory("memory://").task(name=TOO_LONG)


async def test_a_worker_tells_tasks_queues_and_calls_of_odd_names_apart(app):
    plain = [name for name in ODD if is_plain(name)]
    for number, name in enumerate(plain):

        @app.task(name=name, queue=name)
        async def which(number: int = number) -> int:
            return number

    async with Worker(app, WorkerConfig(concurrency=4), queues=plain):
        with fail_after(60):
            for number, name in enumerate(plain):
                message = TaskMessage(id=name, name=name)
                await app.broker.publish(message, name)
                assert await app.result(name).get() == number


def test_a_name_travels_as_it_is():
    for name in ODD:
        read = decode(encode(TaskMessage(id=name, name=name, headers={name: name})))

        assert (read.id, read.name, read.headers) == (name, name, {name: name})
