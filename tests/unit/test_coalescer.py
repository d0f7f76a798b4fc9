import asyncio
import random
import traceback
from collections.abc import Sequence

import anyio
import pytest
from anyio import create_task_group, fail_after, wait_all_tasks_blocked
from anyio.lowlevel import checkpoint

from chicory.coalescer import Coalescer
from chicory.errors import BrokerConnectionError, MessageTooLargeError


class Server:
    """Answers each item with its double; may be held up, and may fail."""

    def __init__(self, *, held: bool = False) -> None:
        self.batches: list[list[int]] = []
        self.answered: list[int] = []
        self.gate = anyio.Event()
        self.error: BaseException | None = None
        if not held:
            self.gate.set()

    async def flush(self, items: Sequence[int]) -> Sequence[int]:
        self.batches.append(list(items))
        await self.gate.wait()
        await checkpoint()
        if self.error is not None:
            raise self.error
        self.answered += items
        return [2 * item for item in items]


class Callers:
    """Submits items in a task each, and keeps what they got."""

    def __init__(self, tasks: anyio.abc.TaskGroup, coalescer: Coalescer[int, int]) -> None:
        self._tasks = tasks
        self._coalescer = coalescer
        self.scopes: dict[int, anyio.CancelScope] = {}
        self.answers: dict[int, int] = {}
        self.errors: dict[int, BaseException] = {}
        self.cancelled: set[int] = set()

    def submit(self, *items: int) -> None:
        for item in items:
            self.scopes[item] = anyio.CancelScope()
            self._tasks.start_soon(self._submit, item)

    async def _submit(self, item: int) -> None:
        with self.scopes[item] as scope:
            try:
                self.answers[item] = await self._coalescer.submit(item)
            except Exception as error:  # noqa: BLE001
                self.errors[item] = error
        if scope.cancelled_caught:
            self.cancelled.add(item)


async def test_a_call_that_finds_nothing_under_way_goes_at_once():
    server = Server()

    assert await Coalescer(server.flush, 10).submit(1) == 2
    assert server.batches == [[1]]


async def test_what_comes_while_a_batch_is_under_way_is_the_next_one():
    server = Server(held=True)

    with fail_after(60):
        async with create_task_group() as tasks:
            callers = Callers(tasks, Coalescer(server.flush, 10))
            callers.submit(1)
            await wait_all_tasks_blocked()
            callers.submit(2, 3, 4)
            await wait_all_tasks_blocked()
            assert server.batches == [[1]]
            server.gate.set()

    assert [server.batches[0], sorted(server.batches[1])] == [[1], [2, 3, 4]]
    assert callers.answers == {1: 2, 2: 4, 3: 6, 4: 8}


async def test_who_were_answered_together_and_call_again_go_together():
    server = Server()
    coalescer = Coalescer(server.flush, 100)

    async def call(item: int) -> None:
        for _ in range(4):
            await coalescer.submit(item)

    async with create_task_group() as tasks:
        for item in range(8):
            tasks.start_soon(call, item)

    sizes = [len(batch) for batch in server.batches]
    assert min(sizes[1:-1]) > 4, sizes  # trio lets them go on in any order


async def test_who_calls_again_alone_goes_although_nobody_joins_him():
    server = Server(held=True)
    coalescer = Coalescer(server.flush, 100)
    async with create_task_group() as tasks:
        callers = Callers(tasks, coalescer)
        callers.submit(1)
        await wait_all_tasks_blocked()
        callers.submit(2, 3)
        server.gate.set()

    with fail_after(60):
        assert await coalescer.submit(4) == 8

    assert [len(batch) for batch in server.batches] == [1, 2, 1]


async def test_cancelled_while_others_may_join_him_he_takes_nobody_with_him():
    server = Server()
    coalescer = Coalescer(server.flush, 100)
    async with create_task_group() as tasks:
        callers = Callers(tasks, coalescer)
        callers.submit(1, 2, 3)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await coalescer.submit(4)

    with fail_after(60):
        assert await coalescer.submit(5) == 10

    assert scope.cancelled_caught
    assert 4 not in server.answered


async def test_no_batch_is_larger_than_the_limit_and_none_is_lost():
    server = Server(held=True)

    with fail_after(60):
        async with create_task_group() as tasks:
            callers = Callers(tasks, Coalescer(server.flush, 3))
            callers.submit(*range(11))
            await wait_all_tasks_blocked()
            server.gate.set()

    assert [len(batch) for batch in server.batches] == [1, 3, 3, 3, 1]
    assert callers.answers == {item: 2 * item for item in range(11)}


async def test_an_error_reaches_each_caller_of_its_batch_and_no_other():
    server = Server(held=True)
    server.error = BrokerConnectionError("gone")

    with fail_after(60):
        async with create_task_group() as tasks:
            coalescer = Coalescer(server.flush, 2)
            callers = Callers(tasks, coalescer)
            callers.submit(1, 2, 3)
            await wait_all_tasks_blocked()
            server.gate.set()

    assert sorted(callers.errors) == [1, 2, 3]
    assert {str(error) for error in callers.errors.values()} == {"gone"}
    server.error = None
    assert await coalescer.submit(4) == 8


class Picky(Server):
    """Refuses a batch that has odd numbers in it."""

    async def flush(self, items: Sequence[int]) -> Sequence[int]:
        answers = await super().flush(items)
        if any(item % 2 for item in items):
            raise MessageTooLargeError(f"odd: {list(items)}")
        return answers


async def test_what_is_refused_is_refused_alone():
    server = Picky(held=True)

    with fail_after(60):
        async with create_task_group() as tasks:
            callers = Callers(tasks, Coalescer(server.flush, 10))
            callers.submit(0)
            await wait_all_tasks_blocked()
            callers.submit(2, 3, 4)
            await wait_all_tasks_blocked()
            server.gate.set()

    assert callers.answers == {0: 0, 2: 4, 4: 8}
    assert {item: str(error) for item, error in callers.errors.items()} == {3: "odd: [3]"}


async def test_a_connection_lost_while_the_refused_one_is_looked_for_is_not_asked_for_each():
    class Ending(Picky):
        async def flush(self, items: Sequence[int]) -> Sequence[int]:
            if items == [4]:
                self.error = BrokerConnectionError("gone")
            return await super().flush(items)

    server = Ending(held=True)

    with fail_after(60):
        async with create_task_group() as tasks:
            callers = Callers(tasks, Coalescer(server.flush, 10))
            callers.submit(0)
            await wait_all_tasks_blocked()
            for item in (2, 3, 4, 6):
                callers.submit(item)
                await wait_all_tasks_blocked()
            server.gate.set()

    assert server.batches == [[0], [2, 3, 4, 6], [2], [3], [4]]
    assert callers.answers == {0: 0, 2: 4}
    assert {item: str(error) for item, error in callers.errors.items()} == {
        3: "odd: [3]",
        4: "gone",
        6: "gone",
    }


async def test_each_caller_gets_an_error_of_its_own():
    server = Server(held=True)
    server.error = BrokerConnectionError("gone")
    server.error.__cause__ = OSError("cable")

    with fail_after(60):
        async with create_task_group() as tasks:
            callers = Callers(tasks, Coalescer(server.flush, 50))
            callers.submit(*range(20))
            await wait_all_tasks_blocked()
            server.gate.set()

    errors = list(callers.errors.values())
    assert len({id(error) for error in errors}) == 20
    assert {str(error.__cause__) for error in errors} == {"cable"}
    assert max(len(traceback.extract_tb(error.__traceback__)) for error in errors) < 20


class UncopyableError(Exception):
    def __init__(self, one, two):
        super().__init__(f"{one}{two}")


async def test_an_error_that_cannot_be_copied_is_raised_all_the_same():
    server = Server()
    server.error = UncopyableError("a", "b")

    with pytest.raises(UncopyableError, match=r"ab"):
        await Coalescer(server.flush, 5).submit(1)


async def test_an_answer_of_a_wrong_length_is_an_error_and_no_hang():
    async def flush(items):
        await checkpoint()
        return items[1:]

    with fail_after(60), pytest.raises(ValueError, match=r"zip"):
        await Coalescer(flush, 5).submit(1)


async def test_cancelled_before_its_batch_went_off_an_item_is_not_sent():
    server = Server(held=True)

    with fail_after(60):
        async with create_task_group() as tasks:
            callers = Callers(tasks, Coalescer(server.flush, 10))
            callers.submit(1)
            await wait_all_tasks_blocked()
            callers.submit(2, 3)
            await wait_all_tasks_blocked()
            callers.scopes[2].cancel()
            await wait_all_tasks_blocked()
            server.gate.set()

    assert server.batches == [[1], [3]]
    assert (callers.answers, callers.cancelled) == ({1: 2, 3: 6}, {2})


async def test_cancelled_after_its_batch_went_off_an_item_may_have_been_sent():
    server = Server(held=True)

    with fail_after(60):
        async with create_task_group() as tasks:
            callers = Callers(tasks, Coalescer(server.flush, 10))
            callers.submit(1)
            await wait_all_tasks_blocked()
            callers.submit(2, 3)
            await wait_all_tasks_blocked()
            first, server.gate = server.gate, anyio.Event()
            first.set()
            await wait_all_tasks_blocked()
            leader, follower = server.batches[1]
            callers.scopes[follower].cancel()
            await wait_all_tasks_blocked()
            server.gate.set()

    assert callers.cancelled == {follower}
    assert callers.answers == {1: 2, leader: 2 * leader}
    assert sorted(server.answered) == [1, 2, 3]


async def test_a_cancelled_leader_cancels_nobody_else_s_call():
    server = Server(held=True)

    with fail_after(60):
        async with create_task_group() as tasks:
            callers = Callers(tasks, Coalescer(server.flush, 10))
            callers.submit(1)
            await wait_all_tasks_blocked()
            callers.submit(2, 3, 4)
            await wait_all_tasks_blocked()
            first, server.gate = server.gate, anyio.Event()
            first.set()
            await wait_all_tasks_blocked()
            leader = server.batches[1][0]
            callers.scopes[leader].cancel()
            await wait_all_tasks_blocked()
            server.gate.set()

    assert {2, 3, 4} - {leader} <= callers.answers.keys()
    assert not callers.errors


async def test_a_leader_cancelled_before_it_led_passes_the_lead_on():
    server = Server(held=True)

    with fail_after(60):
        async with create_task_group() as tasks:
            callers = Callers(tasks, Coalescer(server.flush, 10))
            callers.submit(1)
            await wait_all_tasks_blocked()
            callers.submit(2)
            await wait_all_tasks_blocked()
            callers.submit(3)
            await wait_all_tasks_blocked()
            server.gate.set()
            while 1 not in callers.answers:
                await checkpoint()
            callers.scopes[2].cancel()

    assert callers.answers.keys() >= {1, 3}
    assert not callers.errors


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_leader_cancelled_by_asyncio_itself_cancels_nobody_else_s_call():
    server = Server(held=True)
    coalescer = Coalescer(server.flush, 10)

    async with asyncio.timeout(10):
        first = asyncio.create_task(coalescer.submit(1))
        await wait_all_tasks_blocked()
        others = [asyncio.create_task(coalescer.submit(item)) for item in (2, 3, 4)]
        await wait_all_tasks_blocked()
        opened, server.gate = server.gate, anyio.Event()
        opened.set()
        await first
        await wait_all_tasks_blocked()
        others[1].cancel()
        others[0].cancel()  # the leader, with no scope of anyio's that could shield it
        await wait_all_tasks_blocked()
        server.gate.set()
        answers = await asyncio.gather(*others, return_exceptions=True)

    assert [type(answer) for answer in answers[:2]] == [asyncio.CancelledError] * 2
    assert answers[2] == 8
    assert server.batches == [[1], [2, 3, 4], [4]]
    assert await coalescer.submit(5) == 10


@pytest.mark.parametrize("seed", range(10))
async def test_whatever_is_cancelled_whenever_the_others_get_their_answers(seed):
    chance = random.Random(seed)
    server = Server()
    coalescer = Coalescer(server.flush, 4)

    with fail_after(60):
        async with create_task_group() as tasks:
            callers = Callers(tasks, coalescer)
            for item in range(200):
                callers.submit(item)
                for _ in range(chance.choice([0, 0, 0, 1, 2])):
                    await checkpoint()
                if chance.random() < 0.3:
                    callers.scopes[chance.randint(0, item)].cancel()

    assert callers.answers.keys() | callers.cancelled == set(range(200))
    assert all(answer == 2 * item for item, answer in callers.answers.items())
    assert all(len(batch) <= 4 for batch in server.batches)
    sent = [item for batch in server.batches for item in batch]
    assert len(sent) == len(set(sent))
    assert await coalescer.submit(7) == 14


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("seed", range(10))
async def test_whatever_asyncio_cancels_whenever_the_others_get_their_answers(seed):
    chance = random.Random(seed)
    server = Server()
    coalescer = Coalescer(server.flush, 4)
    callers: list[asyncio.Task[int]] = []
    hit: set[int] = set()

    async with asyncio.timeout(30):
        for item in range(200):
            callers.append(asyncio.create_task(coalescer.submit(item)))
            for _ in range(chance.choice([0, 0, 0, 1, 2])):
                await checkpoint()
            if chance.random() < 0.3:
                victim = chance.randint(0, item)
                if callers[victim].cancel():
                    hit.add(victim)
        answers = await asyncio.gather(*callers, return_exceptions=True)

    wrong = [item for item, answer in enumerate(answers) if answer != 2 * item]
    assert set(wrong) <= hit
    assert await coalescer.submit(7) == 14
