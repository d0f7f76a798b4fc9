"""What is read of the stream is all there is, however large."""

from __future__ import annotations

import time

import pytest

import chicory_nats.reading
from chicory.testing.contract.steps import Heard, count, dead, message, record, take
from chicory.transport import Stage, Standing

_LARGE = bytes(400_000)
_NAMED_AT_ONCE = 100_000
_NAMES = [str(number) for number in range(12)]


class _Patience:
    patience = 60.0


@pytest.fixture(autouse=True)
def _small_answers(monkeypatch):
    monkeypatch.setattr(chicory_nats.reading, "_PAGE_BYTES", 1 << 20)  # the server's max_payload


@pytest.fixture(params=["page by page", "one by one"])
def _either_way(request, monkeypatch):
    if request.param == "one by one":  # as with a server that pages bring to a standstill
        monkeypatch.setattr(chicory_nats.reading, "_PAGES", (99,))


@pytest.mark.usefixtures("_either_way")
async def test_records_that_are_too_large_for_one_answer_are_found_and_pushed(connect):
    transport = await connect()
    await transport.store([record(name, _LARGE) for name in _NAMES])
    heard = Heard(_Patience())

    found = await transport.look_up(_NAMES)
    await transport.watch(_NAMES, heard)

    assert list(found) == [Standing(Stage.RECORDED, _LARGE)] * len(_NAMES)
    assert sorted(name for name, _ in await heard.until(len(_NAMES))) == sorted(_NAMES)


@pytest.mark.usefixtures("_either_way")
async def test_dead_letters_that_are_too_large_for_one_answer_are_found(connect):
    transport = await connect()
    await transport.publish([message(name, body=_LARGE) for name in _NAMES])
    taken = []
    while len(taken) < len(_NAMES):
        taken += await take(transport)
    await transport.settle([dead(delivery) for delivery in taken])
    names = [f"letter {name}" for name in _NAMES]

    found = await transport.find_dead(names)
    listed = []
    while page := await transport.dead_letters("q", after=listed[-1].id if listed else None):
        listed += page

    assert [one.body for one in found] == [_LARGE] * len(_NAMES)
    assert sorted(one.id for one in listed) == sorted(names)


@pytest.mark.slow
@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # the server names as many on either loop
async def test_more_is_counted_than_the_server_names_at_once(connect, monkeypatch):
    monkeypatch.setattr(chicory_nats.reading, "_PAGES", (99,))
    transport = await connect()
    later = time.time() + 3600
    names = [str(number) for number in range(_NAMED_AT_ONCE + 1)]
    await transport.publish([message(name, not_before=later) for name in names])

    assert (await count(transport)).delayed == len(names)
