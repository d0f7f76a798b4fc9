from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest
from named import by_text

from chicory import Chicory, ChicoryConfig, TaskMessage, WorkerStats
from chicory import message as messages
from chicory.errors import (
    BackendNotConfiguredError,
    BrokerConnectionError,
    ChicoryError,
    MessageError,
    MessageTooLargeError,
    ValidationError,
)
from chicory.outcome import DeathReason
from chicory.record import TaskResult
from chicory.states import TaskState
from chicory.testing.memory import MemoryTransport
from chicory.transport import (
    Counts,
    Dead,
    DeadLetter,
    Done,
    Duplicate,
    Priority,
    Publication,
    WorkerRecord,
)

BROKEN = b"\x94\x01\xa1"
DEEP = b"\x94\x01\xa1a\xa1t" + b"\x91" * 100_000 + b"\xc0"
NEWER = b"\x93\x02\xa1a\xa1t"


@pytest.fixture
async def broker(app):
    async with app:
        yield app.broker


async def transport(app):
    return (await app.broker_link.session()).transport


async def fetch(app, queue="default"):
    return await (await transport(app)).fetch([queue], 100, 0)


async def bury(
    app,
    body=b"",
    *,
    queue="default",
    retries=3,
    priority=Priority.NORMAL,
    task_id="a",
    error_type="",
):
    """Have a worker give a message up."""
    port = await transport(app)
    await port.publish([Publication(queue, task_id, body, priority)])
    (delivery,) = await port.fetch([queue], 1, 0)
    letter = DeadLetter(
        task_id,
        queue,
        task_id,
        body,
        DeathReason.FAILED,
        "no",
        retries,
        app.clock.now(),
        priority,
        error_type,
    )
    await port.settle([Dead(delivery.receipt, letter)])
    return task_id


# -- publishing by hand -------------------------------------------------------------------


async def test_a_message_made_by_hand_is_published_as_it_is(app, broker):
    message = TaskMessage(id="a", name="t", args=[1], kwargs={"b": 2}, headers={"h": "x"})

    assert await broker.publish(message, queue="mail") == "a"

    (delivery,) = await fetch(app, "mail")
    assert (delivery.task_id, delivery.priority) == ("a", Priority.NORMAL)
    assert messages.decode_whole(delivery.body) == message


@pytest.mark.parametrize(
    "eta",
    [
        datetime(2027, 1, 15, 9, 0, tzinfo=UTC),
        datetime(2027, 1, 15, 14, 30, tzinfo=timezone(timedelta(hours=5, minutes=30))),
    ],
    ids=["UTC", "elsewhere"],
)
async def test_a_message_with_an_eta_is_not_delivered_before(app, clock, broker, eta):
    due = datetime(2027, 1, 15, 9, 0, tzinfo=UTC).timestamp()
    await broker.publish(TaskMessage(id="a", name="t", eta=eta))

    clock.advance(due - clock.now() - 0.001)
    assert await fetch(app) == []
    clock.advance(0.001)

    (delivery,) = await fetch(app)
    read = messages.decode(delivery.body).eta
    assert read == datetime(2027, 1, 15, 9, 0, tzinfo=UTC)


async def test_an_eta_without_a_time_zone_is_taken_as_utc_and_warned_of(app, clock, broker):
    naive = datetime(2027, 1, 15, 9, 0)  # noqa: DTZ001

    with pytest.warns(UserWarning, match="'a', 2027-01-15T09:00:00, has no time") as caught:
        await broker.publish(TaskMessage(id="a", name="t", eta=naive))

    assert caught[0].filename == __file__
    clock.advance(naive.replace(tzinfo=UTC).timestamp() - clock.now() - 0.001)
    assert await fetch(app) == []
    clock.advance(0.001)
    assert len(await fetch(app)) == 1


async def test_priorities_are_strict(app, broker):
    for task_id, priority in [("l", 0), ("n", None), ("m", 1), ("h", 2), ("x", 255)]:
        await broker.publish(TaskMessage(id=task_id, name="t", priority=priority))

    assert [delivery.task_id for delivery in await fetch(app)] == ["h", "x", "n", "m", "l"]


async def test_an_id_that_lives_is_not_published_twice(app, broker):
    message = TaskMessage(id="a", name="t")

    await broker.publish(message)

    assert await broker.publish(message) == "a"
    assert await broker.enqueue(message, "default") == Duplicate("a")
    assert await broker.get_queue_size() == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": ""},
        {"id": "i" * 256},
        {"id": 5},
        {"id": None},
        {"name": None},
        {"args": "abc"},
        {"args": [object()]},
        {"args": None},
        {"kwargs": [1]},
        {"kwargs": {1: 2}},
        {"retries": -1},
        {"retries": "x"},
        {"eta": "tomorrow"},
        {"eta": 5},
        {"priority": -1},
        {"priority": 256},
        {"priority": "high"},
        {"headers": {"a": 1}},
        {"version": 0},
        {"version": 2},
        {"name": "\ud800"},
    ],
    ids=by_text,
)
async def test_a_message_that_no_worker_could_read_is_refused(broker, wrong):
    message = TaskMessage(**{"id": "a", "name": "t", **wrong})

    with pytest.raises(MessageError):
        await broker.publish(message)

    assert await broker.counts() == {}


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"id": ""}, r"TaskMessage(id=...): Expected `str` of length >= 1"),
        ({"name": None}, r"TaskMessage(name=...): Expected `str`, got `None`"),
        ({"retries": -1}, r"TaskMessage(retries=...): Expected `int` >= 0"),
        ({"headers": {"a": 1}}, r"TaskMessage(headers=...): Expected `str`, got `int`"),
        ({"id": "a\nb"}, r"TaskMessage(id='a\nb'): must be without control characters"),
        ({"name": "\x1b[2J"}, r"TaskMessage(name='\x1b[2J'): must be without control characters"),
    ],
    ids=str,
)
async def test_what_is_wrong_with_a_message_is_said_by_its_attribute(broker, wrong, told):
    with pytest.raises(MessageError) as caught:
        await broker.publish(TaskMessage(**{"id": "a", "name": "t", **wrong}))

    assert str(caught.value) == told


@pytest.mark.parametrize("queue", ["a\nb", "\x1b[2J", "\x7f", "\x9b1m", "\u2028"])
async def test_a_queue_whose_name_steers_terminals_is_refused(broker, queue):
    with pytest.raises(ValidationError, match=r"must be without control characters"):
        await broker.publish(TaskMessage(id="a", name="t"), queue)


@pytest.mark.parametrize("queue", ["", "q" * 256, "\ud800", None, 5])
async def test_a_queue_that_has_no_name_is_refused(broker, queue):
    with pytest.raises(ValidationError, match=r"queue .*: must be text of 1 to 255 characters"):
        await broker.publish(TaskMessage(id="a", name="t"), queue)

    assert await broker.counts() == {}


async def test_a_message_beyond_the_limit_is_refused_with_what_to_do(clock):
    app = Chicory("memory://", config=ChicoryConfig(max_message_size=100), clock=clock)

    with pytest.raises(
        MessageTooLargeError,
        match=r"'t' has 1,\d\d\d bytes, the limit is 100: .*CHICORY_MAX_MESSAGE_SIZE",
    ):
        await app.broker.publish(TaskMessage(id="a", name="t", args=["x" * 1000]))

    assert await app.broker.get_queue_size() == 0


async def test_the_limit_is_a_mebibyte_unless_told_otherwise(broker):
    room = (1 << 20) - len(messages.encode(TaskMessage(id="a", name="t", args=["x" * 70_000])))

    await broker.publish(TaskMessage(id="a", name="t", args=["x" * (70_000 + room)]))

    with pytest.raises(MessageTooLargeError, match=r"1,048,577 bytes, the limit is 1,048,576"):
        await broker.publish(TaskMessage(id="b", name="t", args=["x" * (70_001 + room)]))


# -- counts and control -------------------------------------------------------------------


async def test_messages_are_counted_by_where_they_stand(app, clock, broker):
    for number in range(3):
        await broker.publish(TaskMessage(id=str(number), name="t"))
    later = datetime.fromtimestamp(clock.now() + 60, UTC)
    await broker.publish(TaskMessage(id="later", name="t", eta=later))
    await (await transport(app)).fetch(["default"], 1, 0)

    assert await broker.get_queue_size() == 2
    assert await broker.get_pending_count() == 1
    assert await broker.counts() == {"default": Counts(ready=2, delayed=1, leased=1)}
    assert await broker.counts(["default", "none"]) == {
        "default": Counts(ready=2, delayed=1, leased=1),
        "none": Counts(),
    }
    assert await broker.get_queue_size("none") == 0


async def test_to_purge_deletes_what_is_not_leased(app, clock, broker):
    for number in range(3):
        await broker.publish(TaskMessage(id=str(number), name="t"))
    await (await transport(app)).fetch(["default"], 1, 0)

    assert await broker.purge_queue() == 2
    assert await broker.counts() == {"default": Counts(leased=1)}
    assert await broker.purge_queue("none") == 0


async def test_a_paused_queue_delivers_nothing_until_it_is_resumed(app, broker):
    await broker.publish(TaskMessage(id="a", name="t"))

    await broker.pause()
    assert await fetch(app) == []
    assert (await broker.counts())["default"].paused
    await broker.resume()

    assert len(await fetch(app)) == 1


async def test_live_workers_of_a_queue_are_its_consumers(app, clock, broker):
    for name, queue, running, ttl in [
        ("live", "default", True, 30),
        ("other", "mail", True, 30),
        ("stopped", "default", False, 30),
        ("dead", "default", True, 5),
    ]:
        stats = WorkerStats(
            worker_id=name, hostname="h", pid=1, queue=queue, concurrency=1, is_running=running
        )
        await app.backend.store_heartbeat(name, stats, ttl)
    clock.advance(10)

    assert await broker.get_consumer_count() == 1
    assert await broker.get_consumer_count("none") == 0


async def test_a_consumer_of_another_version_counts(app, broker):
    await (await transport(app)).beat(WorkerRecord("new", ("default",), b"\xc1"), 30)

    assert await broker.get_consumer_count() == 1


async def test_a_healthcheck_asks_now(app, broker):
    assert (await broker.healthcheck()).connected

    await (await transport(app)).close()

    status = await broker.healthcheck()
    assert not status.connected
    assert "not open" in (status.error or "")


async def test_every_method_connects_by_itself(clock):
    app = Chicory("memory://", clock=clock)
    for method in ("get_queue_size", "get_dlq_count", "get_dlq_messages", "purge_dlq", "pause"):
        await getattr(app.broker, method)()
        await app.broker.disconnect()

    await app.broker.connect()

    assert app.broker_link.opened() is not None


# -- dead letters -------------------------------------------------------------------------


async def test_a_dead_letter_tells_what_happened(app, clock, broker):
    message = TaskMessage(id="a", name="t", args=[1], retries=3)
    await bury(app, messages.encode(message))

    (letter,) = await broker.get_dlq_messages()

    assert (letter.message_id, letter.error, letter.retry_count) == ("a", "no", 3)
    assert letter.original_message == message
    assert letter.failed_at == datetime.fromtimestamp(clock.now(), UTC)
    assert (letter.reason, letter.queue) == ("failed", "default")
    assert await broker.get_dlq_message("a") == letter
    assert await broker.get_dlq_message("none") is None


@pytest.mark.parametrize("body", [BROKEN, DEEP, NEWER, b"", b"\xff" * 5])
async def test_what_cannot_be_decoded_is_shown_and_replayed_as_it_was(app, broker, body):
    await bury(app, body)

    (letter,) = await broker.get_dlq_messages()
    assert (letter.original_message, letter.body) == (None, body)

    for reset in (True, False):
        assert await broker.replay_from_dlq("a", reset_retries=reset)
        (delivery,) = await fetch(app)
        assert delivery.body == body
        await (await transport(app)).settle([Done(delivery.receipt)])
        await bury(app, body)


async def test_dead_letters_come_in_pages_of_one_queue_or_of_all(app, broker):
    for number in range(5):
        await bury(app, b"", task_id=str(number), queue="ab"[number % 2])

    first = await broker.get_dlq_messages("a", count=2)
    rest = await broker.get_dlq_messages("a", count=2, after=first[-1].message_id)

    assert [one.message_id for one in first + rest] == ["0", "2", "4"]
    assert len(await broker.get_dlq_messages(None)) == 5
    assert len(await broker.get_dlq_messages(None, count=3)) == 3
    assert await broker.get_dlq_messages(None, count=0) == []
    assert await broker.get_dlq_messages() == []
    assert (await broker.get_dlq_count("a"), await broker.get_dlq_count("b")) == (3, 2)


@pytest.mark.parametrize(
    ("error", "found"),
    [
        ("NoLuckError", ["0", "1"]),
        ("shop.NoLuckError", ["0"]),
        ("mail.shop.NoLuckError", []),
        ("Shop.NoLuckError", ["1"]),
        ("LuckError", []),
        ("ValueError", ["2"]),
        ("builtins.ValueError", ["2"]),
        ("shop", []),
    ],
)
async def test_dead_letters_are_found_by_the_class_of_their_last_exception(
    app, broker, error, found
):
    types = ["shop.NoLuckError", "shop.Shop.NoLuckError", "ValueError", ""]
    for number, error_type in enumerate(types):
        await bury(app, task_id=str(number), error_type=error_type)

    letters = await broker.get_dlq_messages(error=error)

    assert [one.message_id for one in letters] == found


async def test_the_count_is_of_what_is_found_however_much_is_between(app, broker):
    for number in range(250):
        kind = "NoLuckError" if number % 60 == 59 else "ValueError"
        await bury(app, task_id=str(number), queue="mail", error_type=kind)
    await bury(app, task_id="other", error_type="NoLuckError")

    async def ids(*args, **options):
        letters = await broker.get_dlq_messages(*args, error="NoLuckError", **options)
        return [one.message_id for one in letters]

    assert await ids("mail") == ["59", "119", "179", "239"]
    assert await ids("mail", 2) == ["59", "119"]
    assert await ids("mail", 3) == ["59", "119", "179"]
    assert await ids("mail", 3, "179") == ["239"]
    assert await ids("mail", 0) == []
    assert await ids(None) == ["59", "119", "179", "239", "other"]
    with pytest.raises(ValidationError, match="error ''"):
        await broker.get_dlq_messages(error="")


async def test_a_page_of_less_than_nothing_is_refused(broker):
    with pytest.raises(ValidationError, match=r"count=-1: must be 0 or more"):
        await broker.get_dlq_messages(count=-1)


DEAD = TaskMessage(
    id="a",
    name="t",
    args=[1],
    retries=3,
    eta=datetime(2027, 1, 20, tzinfo=UTC),
    priority=2,
    enqueued_at=5.0,
    expires_at=10.0,
    first_failure_at=datetime(2027, 1, 1, tzinfo=UTC),
    last_error="no",
    headers={"h": "x"},
)


@pytest.mark.parametrize(
    ("reset", "kept"),
    [
        (True, {"retries": 0, "first_failure_at": None, "last_error": None}),
        (False, {}),
    ],
)
async def test_a_replayed_message_is_due_and_does_not_expire(app, broker, reset, kept):
    await bury(app, messages.encode(DEAD), priority=Priority.HIGH)

    assert await broker.replay_from_dlq("a", reset_retries=reset)

    (delivery,) = await fetch(app)
    expected = msgspec.structs.replace(DEAD, eta=None, expires_at=None, **kept)
    assert messages.decode_whole(delivery.body) == expected
    assert delivery.priority is Priority.HIGH
    assert await broker.get_dlq_count() == 0


async def test_a_message_is_replayed_once(broker, app):
    await bury(app, messages.encode(DEAD))

    assert [await broker.replay_from_dlq("a") for _ in range(3)] == [True, False, False]
    assert await broker.get_queue_size() == 1


async def test_a_message_may_be_replayed_to_another_queue(broker, app):
    await bury(app, messages.encode(DEAD))
    with pytest.raises(ValidationError, match=r"queue ''"):
        await broker.replay_from_dlq("a", queue="")

    assert await broker.replay_from_dlq("a", queue="mail")

    assert len(await fetch(app, "mail")) == 1


async def test_a_replay_forgets_the_old_outcome_and_a_missed_one_does_not(app, broker):
    await bury(app, messages.encode(DEAD))
    for task_id in ("a", "b"):
        result = TaskResult(task_id=task_id, state=TaskState.DEAD_LETTERED)
        await app.backend.store_result(task_id, result)

    await broker.replay_from_dlq("a")
    await broker.replay_from_dlq("b")

    assert await app.backend.get_result("a") is None
    assert await app.backend.get_result("b") is not None


async def test_the_old_outcome_is_forgotten_where_results_are_kept(clock):
    app = Chicory("memory://", "memory://results-elsewhere", clock=clock)
    await bury(app, messages.encode(DEAD))
    await app.backend.store_result("a", TaskResult(task_id="a", state=TaskState.DEAD_LETTERED))

    assert await app.broker.replay_from_dlq("a")

    assert await app.backend.get_result("a") is None


async def test_many_dead_letters_are_replayed_and_each_one_is_answered(app, broker):
    ids = [str(number) for number in range(250)]
    for task_id in ids:
        await bury(app, messages.encode(msgspec.structs.replace(DEAD, id=task_id)), task_id=task_id)
    await (await transport(app)).publish([Publication("default", "7", b"", Priority.NORMAL)])
    for task_id in ids:
        result = TaskResult(task_id=task_id, state=TaskState.DEAD_LETTERED)
        await app.backend.store_result(task_id, result)

    replayed = await broker.replay_many_from_dlq([*ids, "none", "9"])

    assert replayed == [task_id != "7" for task_id in ids] + [False, False]
    assert await broker.get_queue_size() == 250
    assert [one.message_id for one in await broker.get_dlq_messages()] == ["7"]
    assert await app.backend.get_result("8") is None
    assert await app.backend.get_result("7") is not None


async def test_large_dead_letters_are_replayed_a_few_at_a_time(app, broker, monkeypatch):
    sizes = [1, 700_000, 700_000, 10, 2_000_000, 300_000, 1]
    for number, size in enumerate(sizes):
        await bury(app, b"x" * size, task_id=str(number))
    steps = []
    replay = MemoryTransport.replay

    async def replay_and_note(self, items):
        steps.append([len(publication.body) for _, publication in items])
        return await replay(self, items)

    monkeypatch.setattr(MemoryTransport, "replay", replay_and_note)
    ids = ["none", *map(str, range(len(sizes)))]

    assert await broker.replay_many_from_dlq(ids) == [False] + [True] * len(sizes)
    assert steps == [[1, 700_000], [700_000, 10], [2_000_000], [300_000, 1]]


async def test_many_dead_letters_are_deleted_and_each_one_is_answered(app, broker):
    ids = [str(number) for number in range(250)]
    for task_id in ids:
        await bury(app, b"", task_id=task_id)

    assert await broker.delete_many_from_dlq([*ids[1:], "none"]) == [True] * 249 + [False]
    assert [one.message_id for one in await broker.get_dlq_messages()] == ["0"]


async def test_one_id_in_place_of_a_list_is_refused(broker):
    for many in (broker.replay_many_from_dlq, broker.delete_many_from_dlq):
        with pytest.raises(ValidationError, match=r"a list of ids: write message_ids=\['a'\]$"):
            await many("a")
        with pytest.raises(ValidationError, match="id ''"):
            await many([""])


async def test_an_app_without_results_replays(clock):
    app = Chicory("memory://", None, clock=clock)
    await bury(app, messages.encode(DEAD))

    assert await app.broker.replay_from_dlq("a")
    with pytest.raises(BackendNotConfiguredError):
        _ = app.backend


async def test_dead_letters_are_deleted_one_by_one_or_all_of_a_queue(app, broker):
    for number in range(4):
        await bury(app, b"", task_id=str(number), queue="a" if number else "b")

    assert await broker.delete_from_dlq("1")
    assert not await broker.delete_from_dlq("1", queue="a")
    assert await broker.purge_dlq("a") == 2
    assert (await broker.get_dlq_count("a"), await broker.get_dlq_count("b")) == (0, 1)


async def test_a_closed_connection_is_an_error_of_ours(app, broker):
    await (await transport(app)).close()

    with pytest.raises(BrokerConnectionError) as caught:
        await broker.publish(TaskMessage(id="a", name="t"))

    assert isinstance(caught.value, ChicoryError)
