"""Many messages at once: each is stored as it is, however many go into one statement."""

from uuid import uuid4

import pytest

from chicory.transport import Accepted, Duplicate, Publication
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


@pytest.mark.parametrize("odd", ODD)
def test_an_id_of_ours_has_32_bytes(odd):
    assert are_ids(ids(3))
    assert are_ids([odd]) == (odd == "\0" * 32)
    assert not are_ids([*ids(3), odd[:31]])
