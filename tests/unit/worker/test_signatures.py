"""What is not signed, or was altered, is not run: it is a dead letter, whatever is done with it."""

import anyio
import pytest
from msgspec.structs import replace

from chicory import Chicory, ChicoryConfig, RetryPolicy, TaskState
from chicory import message as messages
from chicory.errors import MessageSignatureError, TaskError
from chicory.seal import MARK, Seal
from chicory.transport import Publication, Release

OLD, NEW = f"old:{'1' * 32}", f"new:{'2' * 32}"


class Place:
    """One broker, and apps on it that have keys or none."""

    def __init__(self, url, clock) -> None:
        self._url, self._clock = url, clock
        self.ran: list[int] = []
        self.apps: list[Chicory] = []

    def app(self, keys: str | None = None, *, required: bool = True) -> Chicory:
        config = ChicoryConfig(signing_keys=keys, signing_required=required)
        app = Chicory(self._url, clock=self._clock, config=config)
        self.apps.append(app)

        @app.task(name="note")
        async def note(number: int) -> int:
            self.ran.append(number)
            return number

        @app.task(name="fail", retry_policy=RetryPolicy(max_retries=1, retry_delay=0))
        async def fail(number: int) -> None:
            self.ran.append(number)
            raise ValueError("bad")

        return app


@pytest.fixture
async def place(url, clock):
    place = Place(url, clock)
    with anyio.fail_after(60):
        yield place
    for app in place.apps:
        await app.disconnect()


async def body_of(app: Chicory, task_id: str) -> bytes:
    transport = (await app.broker_link.session()).transport
    (delivery,) = await transport.fetch(["default"], 1, 0)
    assert delivery.task_id == task_id
    return delivery.body


async def refused(app: Chicory, working, task_id: str, body: bytes, why: str) -> None:
    """Such bytes become a dead letter, and so they do when that is replayed."""
    transport = (await app.broker_link.session()).transport
    await transport.publish([Publication("default", task_id, body)])
    async with working(on=app):
        for _ in range(2):
            with pytest.raises(TaskError, match=why):
                await app.result(task_id).get()
            assert await app.result(task_id).state() is TaskState.DEAD_LETTERED
            letter = await app.broker.get_dlq_message(task_id)
            assert letter is not None
            assert (letter.reason, letter.body) == ("bad-signature", body)
            await app.broker.replay_from_dlq(task_id)
        with pytest.raises(TaskError, match=why):
            await app.result(task_id).get()


async def test_a_signed_call_runs(place, working):
    app = place.app(NEW)
    result = await app.get_task("note").delay(1)

    async with working(on=app):
        assert await result.get() == 1


async def test_what_travels_is_signed_with_the_first_key(place):
    app = place.app(f"{NEW} {OLD}")
    task_id = await app.get_task("note").send(1)

    body = await body_of(app, task_id)

    assert body.startswith(MARK)
    assert messages.decode(Seal(NEW).open(body)).id == task_id


@pytest.mark.parametrize("keys", [None, OLD])
async def test_what_others_send_is_refused(place, working, keys):
    await place.app(keys).get_task("note").send(1)
    stranger = await place.app(keys).get_task("note").send(2)
    app = place.app(NEW)
    transport = (await app.broker_link.session()).transport
    first, second = await transport.fetch(["default"], 2, 0)

    await refused(app, working, "forged", first.body, "not signed|not accepted")
    await refused(app, working, stranger + "'", second.body, "not signed|not accepted")
    assert place.ran == []


async def test_what_was_altered_is_refused(place, working):
    app = place.app(NEW)
    task_id = await app.get_task("note").send(1)
    body = bytearray(await body_of(app, task_id))
    body[body.index(b"note") + len(b"note") + 1] ^= 2  # the argument

    await refused(app, working, "another", bytes(body), "altered")

    assert place.ran == []


async def test_a_signed_message_does_not_pass_for_another_call(place, working):
    app = place.app(NEW)
    body = await body_of(app, await app.get_task("note").send(1))

    await refused(app, working, "another", body, "signed as the call")

    assert place.ran == []


async def test_a_seal_within_a_seal_is_not_opened(place, working):
    app = place.app(NEW)
    body = app.seal.close(
        app.seal.close(messages.encode(messages.TaskMessage(id="1", name="note")))
    )
    transport = (await app.broker_link.session()).transport
    await transport.publish([Publication("default", "1", body)])

    async with working(on=app):
        with pytest.raises(TaskError, match="format 2"):
            await app.result("1").get()


async def test_retries_and_replays_are_signed_anew(place, working):
    await place.app(OLD).get_task("fail").send(1)
    app = place.app(f"{NEW},{OLD}")
    (task_id,) = [one.task_id for one in await fetch_and_give_back(app)]

    async with working(on=app):
        with pytest.raises(TaskError, match="bad"):
            await app.result(task_id).get()
        letter = await app.broker.get_dlq_message(task_id)
        assert letter is not None
        assert (letter.reason, letter.retry_count) == ("failed", 1)
        assert messages.decode(Seal(NEW).open(letter.body)).retries == 1
        assert letter.original_message is not None
        assert letter.original_message.args == [1]

        assert await app.broker.replay_from_dlq(task_id)
        with pytest.raises(TaskError, match="bad"):
            await app.result(task_id).get()

    assert place.ran == [1] * 4


async def fetch_and_give_back(app: Chicory):
    transport = (await app.broker_link.session()).transport
    deliveries = await transport.fetch(["default"], 10, 0)
    await transport.settle([Release(one.receipt) for one in deliveries])
    return deliveries


async def test_who_has_no_key_replays_a_signed_letter_as_it_is(place, working):
    app = place.app(NEW)
    result = await app.get_task("fail").delay(1)
    async with working(on=app):
        with pytest.raises(TaskError, match="bad"):
            await result.get()
        letter = await app.broker.get_dlq_message(result.task_id)
        assert letter is not None

        stranger = place.app()
        shown = await stranger.broker.get_dlq_message(result.task_id)
        assert shown is not None
        assert shown.original_message is not None
        assert await stranger.broker.replay_from_dlq(result.task_id)
        with pytest.raises(TaskError, match="bad"):
            await result.get()

    assert place.ran == [1] * 3  # its one retry was used up


async def test_keys_are_given_out_before_they_are_required(place, working):
    old = place.app()  # sends without, and runs what is signed without a look
    lenient = place.app(NEW, required=False)
    first = await old.get_task("note").delay(1)
    second = await lenient.get_task("note").delay(2)

    async with working(on=lenient):
        assert await first.get() == 1
    third = await lenient.get_task("note").delay(3)
    async with working(on=old):
        assert (await second.get(), await third.get()) == (2, 3)


async def test_a_message_made_by_hand_is_signed(place, working):
    app = place.app(NEW)
    message = messages.TaskMessage(id="by hand", name="note", args=[7])
    await app.broker.publish(message)

    async with working(on=app):
        assert await app.result("by hand").get() == 7
    with pytest.raises(MessageSignatureError):
        app.seal.open(messages.encode(replace(message, id="another")))
