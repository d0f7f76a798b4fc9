"""Dead letters as they are stored, and as they are replayed."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

import pytest

from chicory.errors import BrokerConnectionError
from chicory.testing.contract.steps import count, dead, done, give, ids, message, record, take
from chicory.transport import Cancelled, Counts, DeadLetter, Release
from chicory_nats import NatsTransport
from chicory_nats.epitaph import letter, read_letter
from chicory_nats.intents import Intent
from chicory_nats.letters import Letters
from chicory_nats.publishing import Publisher
from chicory_nats.reading import Stored
from chicory_nats.session import Session
from chicory_nats.subjects import Subjects
from chicory_nats.wire import Batch, Request

FAR = 9e9


def test_a_letter_of_before_the_class_was_kept_is_read():
    given = DeadLetter("a", "mail", "a", b"body", "failed", "no", 1, 5.0)
    sent = letter(Subjects("chicory"), given)
    about, _, body = sent.body.partition(b"\n")
    before = json.dumps(json.loads(about)[:-1]).encode()

    assert read_letter(Stored(b"", 1, {}, before + b"\n" + body)) == given


class KilledError(BrokerConnectionError):
    pass


@pytest.fixture
def dying(monkeypatch) -> Callable[[], AbstractContextManager[None]]:
    """Who replays dies when the message is stored and its letter is still there."""

    async def die(*_: object) -> None:
        raise KilledError

    @contextmanager
    def dying() -> Iterator[None]:
        with monkeypatch.context() as patch:
            patch.setattr(Session, "delete", die)
            with pytest.raises(KilledError):
                yield

    return dying


async def _bury(transport: NatsTransport, *names: str) -> None:
    await transport.settle([dead(one) for one in await give(transport, *names)])


async def test_no_atomic_batch_is_needed_to_replay(connect, monkeypatch):
    transport = await connect()
    await _bury(transport, "1", "2")
    send = Session.send

    async def send_singly(self: Session, requests: Sequence[Request]) -> Sequence[int]:
        assert not any(isinstance(one, Batch) for one in requests)
        return await send(self, requests)

    monkeypatch.setattr(Session, "send", send_singly)

    answers = await transport.replay([(f"letter {name}", message(name)) for name in ("1", "2")])

    assert list(answers) == [True, True]
    assert ids(await take(transport)) == ["1", "2"]
    assert await count(transport) == Counts(leased=2)


@pytest.mark.parametrize("not_before", [0.0, FAR], ids=["now", "delayed"])
async def test_a_letter_whose_replay_was_broken_off_is_there_no_more(connect, dying, not_before):
    here, there = await connect(), await connect()
    await _bury(here, "1", "2")
    replay = [("letter 1", message("1", not_before=not_before))]
    with dying():
        await here.replay(replay)

    assert ids(await there.dead_letters()) == ["2"]
    assert ids(await there.dead_letters(limit=1)) == ["2"]
    assert await there.find_dead(["letter 1"]) == [None]
    assert await there.replay(replay) == [False]
    assert await there.discard(["letter 1"]) == [False]
    live = Counts(delayed=1, dead=1) if not_before else Counts(ready=1, dead=1)
    assert await count(there) == live


@pytest.mark.parametrize(
    "settle", [done, dead, lambda one: Release(one.receipt)], ids=["done", "dead", "release"]
)
async def test_it_does_not_come_back_when_the_message_is_settled(connect, dying, settle):
    here, there = await connect(), await connect()
    await _bury(here, "1")
    with dying():
        await here.replay([("letter 1", message("1"))])
    (again,) = await take(there)

    await there.settle([settle(again)])

    await there.settle([done(one) for one in await take(there)])
    assert len(await there.dead_letters()) == (settle is dead)


async def test_it_does_not_come_back_when_the_message_is_cancelled(connect, dying):
    here, there = await connect(), await connect()
    await _bury(here, "1")
    with dying():
        await here.replay([("letter 1", message("1"))])

    assert await there.cancel([record("1", b"cancelled")]) == [Cancelled.REMOVED]

    assert await there.dead_letters() == []
    assert await count(there) == Counts()


@pytest.mark.parametrize(("mine", "others"), [("1", "1"), ("1", "2"), ("2", "1"), ("2", "3")])
async def test_who_was_quicker_has_replayed_it(connect, monkeypatch, mine, others):
    here = await connect()
    await _bury(here, "1")
    find = Letters._find

    async def find_slowly(self: Letters, letter_ids: Collection[str]) -> object:
        found = await find(self, letter_ids)
        monkeypatch.setattr(Letters, "_find", find)
        assert await self.replay([("letter 1", message(others))]) == [True]
        return found

    monkeypatch.setattr(Letters, "_find", find_slowly)

    assert await here.replay([("letter 1", message(mine))]) == [False]

    assert ids(await take(here)) == [others]
    assert await here.dead_letters() == []


async def test_what_was_replayed_and_run_meanwhile_is_not_replayed_again(connect, monkeypatch):
    here = await connect()
    await _bury(here, "1")
    judge = Publisher.judge

    async def judge_late(self: Publisher, intents: Sequence[Intent], *rest: bytes) -> object:
        monkeypatch.setattr(Publisher, "judge", judge)
        rival = here._space
        assert await rival.letters.replay([("letter 1", message("1"))]) == [True]
        (again,) = await rival.fetcher.fetch(["q"], 1, 10.0)
        await rival.settler.settle([done(again)])
        return await judge(self, intents, *rest)

    monkeypatch.setattr(Publisher, "judge", judge_late)

    assert await here.replay([("letter 1", message("1"))]) == [False]
    assert await count(here) == Counts()
