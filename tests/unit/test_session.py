import asyncio
import gc
import threading
import weakref

import anyio
import pytest
from anyio import create_task_group, fail_after, to_thread, wait_all_tasks_blocked

from chicory import record
from chicory.clock import SystemClock
from chicory.errors import BrokerConnectionError, ConfigurationError, MessageError
from chicory.record import TaskResult
from chicory.session import MAX_BATCH, Link, Session
from chicory.states import TaskState
from chicory.testing.memory import MemoryTransport
from chicory.transport import Publication, Record, TransportSettings
from chicory_sqlite import SQLiteTransport


class Doorman(MemoryTransport):
    """The reference, which can be held up or fail when it is opened, and counts."""

    opened: list["Doorman"]
    closed: list["Doorman"]
    gate: anyio.Event | None = None
    error: Exception | None = None

    async def open(self):
        Doorman.opened.append(self)
        if Doorman.gate is not None:
            await Doorman.gate.wait()
        if Doorman.error is not None:
            raise Doorman.error
        await super().open()

    async def close(self):
        Doorman.closed.append(self)
        await super().close()


@pytest.fixture
def link(clock):
    Doorman.opened, Doorman.closed, Doorman.gate, Doorman.error = [], [], None, None
    return Link(Doorman(TransportSettings(url="memory://", clock=clock)), clock)


@pytest.fixture
async def session(clock):
    transport = MemoryTransport(TransportSettings(url="memory://", clock=clock))
    await transport.open()
    session = Session(transport)
    yield session
    await session.close()


async def put(session, task_id, state=TaskState.SUCCESS):
    body = record.encode(TaskResult(task_id=task_id, state=state))
    await session.transport.store([Record(task_id, body, 60)])


class Inbox:
    def __init__(self):
        self.got = {}
        self.count = 0
        self.news = anyio.Event()

    def __call__(self, task_id, outcome):
        self.got[task_id] = outcome
        self.count += 1
        self.news.set()

    async def wait(self, count=1):
        with fail_after(60):
            while self.count < count:
                self.news = anyio.Event()
                await self.news.wait()


# -- link ---------------------------------------------------------------------------------


async def test_a_link_is_opened_when_it_is_first_used(link):
    assert link.opened() is None
    assert Doorman.opened == []

    session = await link.session()

    assert link.opened() is session
    assert await link.session() is session
    assert len(Doorman.opened) == 1


async def test_those_who_open_at_once_open_once(link):
    Doorman.gate = anyio.Event()
    sessions = []

    async def use():
        sessions.append(await link.session())

    with fail_after(60):
        async with create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(use)
            await wait_all_tasks_blocked()
            Doorman.gate.set()

    assert len(Doorman.opened) == 1
    assert len(set(map(id, sessions))) == 1


async def test_what_failed_to_open_can_be_tried_again(link):
    Doorman.error = BrokerConnectionError("down")
    for _ in range(2):
        with pytest.raises(BrokerConnectionError, match=r"down"):
            await link.session()
    assert link.opened() is None
    Doorman.error = None

    session = await link.session()

    await session.transport.ping()


async def test_what_failed_to_open_is_closed(link):
    Doorman.error = BrokerConnectionError("down")

    with pytest.raises(BrokerConnectionError):
        await link.session()

    assert Doorman.closed == Doorman.opened


async def test_who_is_cancelled_while_opening_leaves_nothing_open_and_others_open(link):
    Doorman.gate = anyio.Event()
    sessions = []

    async def use():
        sessions.append(await link.session())

    with fail_after(60):
        async with create_task_group() as outer:
            async with create_task_group() as tasks:
                tasks.start_soon(link.session)
                await wait_all_tasks_blocked()
                outer.start_soon(use)
                await wait_all_tasks_blocked()
                tasks.cancel_scope.cancel()
            await wait_all_tasks_blocked()
            Doorman.gate.set()

    assert len(Doorman.opened) == 2
    assert Doorman.closed == Doorman.opened[:1]
    assert len(sessions) == 1


async def test_what_was_opened_when_an_exchange_is_undone_is_not_kept(link, clock):
    undo = link.exchange(link.template.clone(), clock)
    Doorman.gate = anyio.Event()

    with fail_after(60):
        async with create_task_group() as tasks:
            tasks.start_soon(link.session)
            await wait_all_tasks_blocked()
            undo("it ended")
            Doorman.gate.set()

    assert link.opened() is None


async def test_a_closed_link_is_opened_again_by_its_next_use(link):
    first = await link.session()

    await link.close()
    await link.close()

    assert Doorman.closed == [first.transport]
    assert link.opened() is None
    second = await link.session()
    assert second is not first
    await second.transport.ping()


async def test_who_closes_while_others_open_leaves_nothing_open(link):
    Doorman.gate = anyio.Event()

    with fail_after(60):
        async with create_task_group() as tasks:
            tasks.start_soon(link.session)
            await wait_all_tasks_blocked()
            tasks.start_soon(link.close)
            await wait_all_tasks_blocked()
            Doorman.gate.set()

    assert link.opened() is None
    assert Doorman.closed == Doorman.opened


async def test_a_cancelled_close_closes(link):
    await link.session()

    with anyio.CancelScope() as scope:
        scope.cancel()
        await link.close()

    assert Doorman.closed == Doorman.opened


def test_each_loop_has_a_session_of_its_own(link):
    ready = threading.Barrier(2)

    async def use():
        session = await link.session()
        await to_thread.run_sync(ready.wait, 10)
        await session.transport.ping()
        again = await link.session()
        await link.close()
        return session is again

    answers = []
    thread = threading.Thread(target=lambda: answers.append(anyio.run(use, backend="trio")))
    thread.start()
    answers.append(asyncio.run(use()))
    thread.join(10)

    assert answers == [True, True]
    assert len(Doorman.opened) == 2


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_loops_that_ended_without_closing_are_forgotten(link, backend):
    sessions = []

    async def use():
        sessions.append(weakref.ref(await link.session()))

    for _ in range(5):
        anyio.run(use, backend=backend)
    Doorman.opened.clear()
    gc.collect()

    assert [reference() is None for reference in sessions] == [True] * 4 + [False]


async def test_a_broker_that_does_not_answer_is_a_failure_in_words(link):
    assert await link.failure() is None
    await link.close()

    Doorman.error = BrokerConnectionError("down")
    assert await link.failure() == "down"
    Doorman.error = ConfigurationError("written by a newer version")
    assert await link.failure() == "written by a newer version"


# -- publishing ---------------------------------------------------------------------------


async def test_those_who_publish_at_once_share_round_trips(tmp_path):
    batches = []

    class Counting(SQLiteTransport):
        async def publish(self, publications):
            batches.append(len(publications))
            return await super().publish(publications)

    link = Link(Counting(TransportSettings(url="sqlite:///x.db")), SystemClock())
    session = await link.session()

    with fail_after(60):
        async with create_task_group() as tasks:
            for number in range(3 * MAX_BATCH):
                tasks.start_soon(session.publish, Publication("q", str(number), b""))

    counts = await session.transport.counts(["q"])
    assert counts["q"].ready == sum(batches) == 3 * MAX_BATCH
    assert len(batches) <= 5
    await link.close()


# -- results ------------------------------------------------------------------------------


async def test_a_result_that_is_there_is_told_at_once_and_one_that_comes_when_it_comes(session):
    inbox = Inbox()
    await put(session, "a")

    await session.results.add(["a", "b"], inbox)
    await inbox.wait()
    assert inbox.got.keys() == {"a"}
    await put(session, "b", TaskState.FAILURE)
    await inbox.wait(2)

    assert inbox.got["b"].state is TaskState.FAILURE


async def test_an_interim_state_is_not_told(session):
    inbox = Inbox()
    await session.results.add(["a"], inbox)

    await put(session, "a", TaskState.RETRY)
    await put(session, "a", TaskState.SUCCESS)
    await inbox.wait()

    assert inbox.count == 1
    assert inbox.got["a"].state is TaskState.SUCCESS


async def test_each_of_many_watchers_of_one_call_is_told_once(session):
    inboxes = [Inbox() for _ in range(5)]
    for inbox in inboxes:
        await session.results.add(["a"], inbox)

    await put(session, "a")
    for inbox in inboxes:
        await inbox.wait()
    await put(session, "a")
    await wait_all_tasks_blocked()

    assert [inbox.count for inbox in inboxes] == [1] * 5


async def test_who_is_discarded_is_not_told_and_the_others_are(session):
    one, other = Inbox(), Inbox()
    await session.results.add(["a", "b"], one)
    await session.results.add(["a"], other)

    session.results.discard(["a", "b"], one)
    session.results.discard(["a", "never"], one)
    await put(session, "a")
    await other.wait()

    assert one.count == 0


async def test_nothing_stays_under_watch(session):
    inbox = Inbox()
    await session.results.add([str(number) for number in range(600)], inbox)
    await session.results.add(["1"], inbox)

    for number in range(300):
        await put(session, str(number))
    await inbox.wait(301)
    session.results.discard([str(number) for number in range(600)], inbox)

    assert session.results._callbacks == {}
    assert session.transport._watcher.clear() == []


async def test_a_result_that_cannot_be_read_is_told_as_an_error(session):
    inbox = Inbox()
    await session.results.add(["a"], inbox)

    await session.transport.store([Record("a", b"\x93\x02\xa1a\xa1b", 60)])
    await inbox.wait()

    assert isinstance(inbox.got["a"], MessageError)


async def test_who_waits_while_the_session_is_closed_is_told(session):
    inbox = Inbox()
    await session.results.add(["a", "b"], inbox)

    await session.close()

    assert [type(error) for error in inbox.got.values()] == [BrokerConnectionError] * 2
    assert "closed while the result of a was awaited" in str(inbox.got["a"])


async def test_who_comes_to_a_closed_session_is_refused_and_forgotten(session):
    await session.close()

    for task_ids in (["a"], ["a", "b"]):
        with pytest.raises(BrokerConnectionError):
            await session.results.add(task_ids, Inbox())

    assert session.results._callbacks == {}


async def test_who_is_cancelled_while_it_begins_to_wait_leaves_nothing_under_watch(session):
    with anyio.CancelScope() as scope:
        scope.cancel()
        await session.results.add(["a", "b"], Inbox())

    assert scope.cancelled_caught
    assert session.results._callbacks == {}
    assert session.transport._watcher.clear() == []


async def test_who_gives_up_while_its_watch_is_under_way_leaves_nothing_under_watch(session):
    transport, gates, under_way = session.transport, [anyio.Event(), anyio.Event()], []

    async def watch(task_ids, sink):
        under_way.append(sorted(task_ids))
        await gates[len(under_way) - 1].wait()
        await MemoryTransport.watch(transport, task_ids, sink)

    transport.watch = watch
    inbox, scopes = Inbox(), {}

    async def add(task_id):
        with anyio.CancelScope() as scopes[task_id]:
            await session.results.add([task_id], inbox)

    with fail_after(60):
        async with create_task_group() as tasks:
            for task_ids in ("x", "ab"):
                for task_id in task_ids:
                    tasks.start_soon(add, task_id)
                await wait_all_tasks_blocked()
            gates[0].set()
            await wait_all_tasks_blocked()
            for task_id in "ab":
                scopes[task_id].cancel()
            await wait_all_tasks_blocked()
            gates[1].set()

    assert under_way == [["x"], ["a", "b"]]
    kept = set(session.results._callbacks)
    assert len(kept) == 2  # the leader's went through
    assert set(transport._watcher._sinks) == kept
