"""Whatever lies in a queue, a worker drains it: what cannot be run is a dead letter, intact.

``CHICORY_FUZZ=100000`` puts as many on each transport.
"""

import logging
from collections.abc import Iterator, Mapping
from itertools import islice
from uuid import uuid4

import pytest
from anyio import fail_after
from fuzz.hostile import CASES, TASKS, cases

from chicory import Chicory, ChicoryConfig, TaskState, Worker, WorkerConfig, record
from chicory import message as messages
from chicory.errors import MessageError, MessageSignatureError, MessageVersionError
from chicory.seal import unsealed
from chicory.transport import Publication

FEW = 300
BATCH = 300
PATIENCE = 120


@pytest.fixture
async def app(place, monkeypatch):
    """Its tasks take what they are given, and fail."""
    monkeypatch.setattr(logging.getLogger("chicory.task"), "disabled", True)
    config = ChicoryConfig(namespace=uuid4().hex, worker=WorkerConfig(concurrency=10))
    app = Chicory(place, config=config)
    typed, loose, variadic = TASKS

    @app.task(name=typed)
    async def with_types(a: int, b: dict[str, list[float]] | None = None) -> None:
        raise ArithmeticError("it ran")

    @app.task(name=loose)
    async def without(a: object, b: object = None) -> None:
        raise ArithmeticError("it ran")

    @app.task(name=variadic)
    async def of_any_number(*args: int, **kwargs: str) -> None:
        raise ArithmeticError("it ran")

    async with app:
        yield app


def batches() -> Iterator[Mapping[str, bytes]]:
    bodies = cases(CASES or FEW)
    while some := list(islice(bodies, BATCH)):
        yield {uuid4().hex: body for body in some}


def reasons(body: bytes, now: float) -> set[str] | None:
    """Why it may become a dead letter; ``None`` where it expired, and need not be kept."""
    try:
        envelope = messages.decode(unsealed(body))
    except MessageSignatureError:
        return {"bad-signature"}
    except MessageError as error:
        newer = isinstance(error, MessageVersionError)
        return {"newer-version" if newer else "undecodable"}
    if envelope.expires_at is not None and now > envelope.expires_at:
        return None
    return {"failed", "invalid-arguments"} if envelope.name in TASKS else {"unknown-task"}


async def test_a_worker_drains_a_queue_of_anything(app):
    for batch in batches():
        with fail_after(PATIENCE):
            await drain(app, batch)


async def drain(app: Chicory, batch: Mapping[str, bytes]) -> None:
    transport = (await app.broker_link.session()).transport
    publications = [Publication("default", task_id, body) for task_id, body in batch.items()]
    await transport.publish(publications)

    await work(app)

    now = app.clock.now()
    letters = {one.id: one for one in await transport.dead_letters(limit=len(batch) + 1)}
    kept = set(letters)
    for task_id, standing in zip(batch, await transport.look_up(list(batch)), strict=True):
        result = record.decode(standing.record or b"")
        expected = reasons(batch[task_id], now)
        if expected is None:
            assert (result.state, result.error_type) == (TaskState.FAILURE, "expired")
            continue
        letter = letters.pop(task_id)
        assert letter.body == batch[task_id]
        assert result.state is TaskState.DEAD_LETTERED
        assert letter.reason in expected
    assert not letters
    await replay(app, kept)
    await app.broker.purge_dlq()


async def work(app: Chicory) -> None:
    """Until nothing is left; where that never is, the test's time runs out."""
    left = True
    while left:
        await Worker(app, burst=True).run()
        counts = (await app.broker.counts(["default"]))["default"]
        left = counts.ready or counts.leased


async def replay(app: Chicory, kept: set[str]) -> None:
    """Some of them; they come to the same end."""
    for letter_id in sorted(kept)[::30]:
        assert await app.broker.replay_from_dlq(letter_id)

    await work(app)

    shown = await app.broker.get_dlq_messages(count=len(kept) + 1)
    assert {letter.message_id for letter in shown} == kept
