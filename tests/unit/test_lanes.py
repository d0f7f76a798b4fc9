"""Batches of concurrent calls under way together, where there are enough of them."""

from collections.abc import Sequence

import anyio
import pytest
from anyio import create_task_group, fail_after, wait_all_tasks_blocked

from chicory.errors import BrokerConnectionError
from chicory.lanes import WORTH_ANOTHER, Lanes


class Server:
    """Answers each item with its double, a batch when it is let."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gates: list[anyio.Event] = []
        self.failing: set[int] = set()

    async def flush(self, items: Sequence[int]) -> Sequence[int]:
        number = len(self.batches)
        self.batches.append(list(items))
        self.gates.append(anyio.Event())
        await self.gates[number].wait()
        if number in self.failing:
            raise BrokerConnectionError("gone")
        return [2 * item for item in items]


@pytest.fixture
def server():
    return Server()


async def test_few_callers_share_one_lane(server):
    lanes = Lanes(server.flush, 100, 2)

    with fail_after(60):
        async with create_task_group() as tasks:
            for item in range(WORTH_ANOTHER):
                tasks.start_soon(lanes.submit, item)
            await wait_all_tasks_blocked()
            assert len(server.batches) == 1
            server.gates[0].set()
            await wait_all_tasks_blocked()
            server.gates[1].set()

    assert [len(batch) for batch in server.batches] == [1, WORTH_ANOTHER - 1]


async def test_many_callers_have_two_batches_under_way(server):
    lanes = Lanes(server.flush, 100, 2)
    total = 4 * WORTH_ANOTHER
    answers: dict[int, int] = {}

    async def submit(item: int) -> None:
        answers[item] = await lanes.submit(item)

    with fail_after(60):
        async with create_task_group() as tasks:
            for item in range(total):
                tasks.start_soon(submit, item)
            await wait_all_tasks_blocked()
            assert [len(batch) for batch in server.batches] == [1, 1]
            server.gates[0].set()
            server.gates[1].set()
            await wait_all_tasks_blocked()
            assert [len(batch) for batch in server.batches[2:]] == [total // 2 - 1] * 2
            server.gates[3].set()  # the later one may be answered first
            await wait_all_tasks_blocked()
            assert len(answers) == total // 2 + 1
            server.gates[2].set()

    assert answers == {item: 2 * item for item in range(total)}


async def test_a_batch_that_fails_takes_none_of_the_other_lane_with_it(server):
    lanes = Lanes(server.flush, 100, 2)
    server.failing = {2}
    came: list[object] = []

    async def submit(item: int) -> None:
        try:
            came.append(await lanes.submit(item))
        except BrokerConnectionError as error:
            came.append(str(error))

    with fail_after(60):
        async with create_task_group() as tasks:
            for item in range(4 * WORTH_ANOTHER):
                tasks.start_soon(submit, item)
            for done in (0, 2):
                await wait_all_tasks_blocked()
                server.gates[done].set()
                server.gates[done + 1].set()

    assert came.count("gone") == len(server.batches[2])


async def test_callers_who_are_done_leave_their_lane_to_others(server):
    lanes = Lanes(server.flush, 100, 2)

    for number in range(2 * WORTH_ANOTHER):
        with fail_after(60):
            async with create_task_group() as tasks:
                tasks.start_soon(lanes.submit, number)
                await wait_all_tasks_blocked()
                server.gates[number].set()
        assert [lane.calls for lane in lanes._lanes] == [0, 0]
