"""Many messages at once: each is stored as it is, however many go into one statement."""

import fcntl
from uuid import uuid4

import pytest
from anyio import create_task_group, fail_after, wait_all_tasks_blocked

from chicory.transport import Accepted, Duplicate, Priority, Publication
from chicory_sqlite.packing import are_ids

ODD = ["x", "é" * 16, "é" * 32, "x" * 31, "x" * 33, "x" * 255, "a\0b", "\0" * 32]


def ids(number):
    return [uuid4().hex for _ in range(number)]


@pytest.mark.parametrize("number", [1, 2, 15, 16, 17, 1_000])
@pytest.mark.parametrize("odd", [None, *ODD], ids=range(len(ODD) + 1))
async def test_messages_come_back_as_they_were(make, number, odd):
    names = ids(number)
    if odd is not None:
        names[number // 2] = odd
    bodies = [bytes([n % 256]) * (n % 300) for n in range(number)]
    given = [Publication("q", *pair) for pair in zip(names, bodies, strict=True)]
    given[0] = Publication("q", names[0], b"\0" * 100_000)

    async with make() as transport:
        outcomes = await transport.publish(given)
        found = await transport.fetch(["q"], 2_000, 0)

    assert outcomes == [Accepted()] * number
    assert [(one.task_id, one.body) for one in found] == [(one.task_id, one.body) for one in given]


async def test_duplicates_among_many_are_told_apart(make):
    names = ids(100)
    names[70] = names[30]

    async with make() as transport:
        await transport.publish([Publication("q", names[50], b"first")])
        outcomes = await transport.publish([Publication("q", name, b"") for name in names])

    expected = [Accepted()] * 100
    expected[50], expected[70] = Duplicate(names[50]), Duplicate(names[30])
    assert outcomes == expected


async def test_many_are_numbered_with_those_before_and_after_them(make):
    names = ids(302)
    parts = names[:100], names[100:101], names[101:301], names[301:]

    async with make() as transport:
        for part in parts:
            await transport.publish([Publication("q", name, b"") for name in part])
        found = await transport.fetch(["q"], 1_000, 0)

    assert [one.task_id for one in found] == names


async def test_many_are_stored_with_what_they_have_in_common(make, clock):
    due = clock.now() + 60
    given = [Publication("q", name, b"late", Priority.HIGH, due) for name in ids(100)]

    async with make() as transport:
        await transport.publish([Publication("q", name, b"early") for name in ids(20)])
        await transport.publish(given)
        assert {one.body for one in await transport.fetch(["q"], 1_000, 0)} == {b"early"}
        clock.advance(61)
        found = await transport.fetch(["q"], 100, 0)

    assert [(one.task_id, one.priority) for one in found] == [
        (one.task_id, Priority.HIGH) for one in given
    ]


@pytest.mark.parametrize("again", [0, 1])
async def test_who_has_published_many_lets_others_write(make, path, again):
    given = [Publication("q", name, b"") for name in ids(100)]

    async with make() as transport:
        await transport.publish(given[:50])
        await transport.publish(given[50 - again :])
        with path.with_name(f"{path.name}-lock").open("r+b") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


async def test_many_wake_up_who_waits_for_them(make):
    found = []

    async def fetch(transport):
        found.extend(await transport.fetch(["q"], 100, 60))

    async with make() as transport:
        await transport.publish([Publication("q", ids(1)[0], b"")])
        await transport.fetch(["q"], 1, 0)
        with fail_after(60):
            async with create_task_group() as group:
                group.start_soon(fetch, transport)
                await wait_all_tasks_blocked()
                await transport.publish([Publication("q", name, b"") for name in ids(100)])

    assert len(found) == 100


@pytest.mark.parametrize("odd", ODD)
def test_an_id_of_ours_has_32_bytes(odd):
    assert are_ids(ids(3))
    assert are_ids([odd]) == (odd == "\0" * 32)
    assert not are_ids([*ids(3), odd[:31]])
