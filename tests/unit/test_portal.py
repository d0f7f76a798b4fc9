"""Calls without an event loop, from any thread."""

import asyncio
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from types import SimpleNamespace
from uuid import uuid4

import anyio
import pytest
from msgspec.structs import replace

from chicory import BulkError, Chicory, TaskError, Worker, WorkerConfig
from chicory.portal import Portal
from chicory.testing.memory import MemoryTransport, forget
from chicory.transport import Accepted

PATIENCE = 60


@pytest.fixture
def app():
    name = uuid4().hex
    yield Chicory(f"memory://{name}")
    forget(name)


@pytest.fixture
def working():
    @contextmanager
    def working(app: Chicory):
        worker = Worker(app, WorkerConfig(concurrency=4))
        app.run_sync(worker.start)
        yield worker
        app.run_sync(worker.stop)

    return working


def test_a_call_and_its_result_need_no_event_loop(app, working):
    @app.task(name="add")
    async def add(a: int, b: int) -> int:
        return a + b

    with working(app):
        result = add.delay_sync(2, b=3)

        assert result.get_sync(timeout=PATIENCE) == 5
        assert app.result(add.send_sync(1, 1)).get_sync(PATIENCE) == 2
        assert add.options(queue="default").delay_sync(2, 2).get_sync(PATIENCE) == 4


def test_errors_come_back_as_they_are(app, working):
    @app.task(name="fail")
    def fail(reason: str) -> None:
        raise ValueError(reason)

    with working(app):
        result = fail.delay_sync("no")
        with pytest.raises(TaskError, match="ValueError: no"):
            result.get_sync(timeout=PATIENCE)
    with pytest.raises(TimeoutError, match="within 0 s"):
        app.result("never").get_sync(timeout=0)


def test_many_calls_are_taken_by_the_batch_in_the_caller_s_thread(app, working):
    taken_in: set[int] = set()

    @app.task(name="double")
    async def double(n: int) -> int:
        return 2 * n

    def calls():
        for n in range(600):
            taken_in.add(threading.get_ident())
            yield double.call(n)

    with working(app):
        results = app.enqueue_many_sync(calls())

        assert app.gather_sync(results, timeout=PATIENCE) == [2 * n for n in range(600)]
    assert taken_in == {threading.get_ident()}


def test_many_calls_go_in_batches_as_large_as_the_broker_likes(app, monkeypatch):
    abilities = replace(MemoryTransport.abilities, bulk=400)
    monkeypatch.setattr(MemoryTransport, "abilities", abilities)
    batches: list[int] = []

    async def publish(transport, publications):
        batches.append(len(publications))
        return [Accepted()] * len(publications)

    monkeypatch.setattr(MemoryTransport, "publish", publish)

    @app.task(name="note")
    async def note(n: int) -> None: ...

    app.enqueue_many_sync(note.call(n) for n in range(1000))

    assert batches == [400, 400, 200]


def test_what_is_refused_of_many_calls_is_counted_over_all_batches(app):
    @app.task(name="double")
    async def double(n: int) -> int:
        return 2 * n

    calls = [double.call("wrong" if n in {5, 300} else n) for n in range(600)]

    with pytest.raises(BulkError) as caught:
        app.enqueue_many_sync(calls)

    assert [(one.index, one.call) for one in caught.value.refused] == [
        (5, calls[5]),
        (300, calls[300]),
    ]
    assert len(caught.value.enqueued) == 598
    assert app.run_sync(app.broker.get_queue_size) == 598


@pytest.mark.parametrize("size", [0, 2, 256, 600])
@pytest.mark.parametrize("wrong", [None, "no call"])
def test_of_many_calls_what_came_before_an_error_of_their_source_is_enqueued(app, size, wrong):
    @app.task(name="double")
    async def double(n: int) -> int:
        return 2 * n

    def calls():
        yield from (double.call(n) for n in range(size))
        if wrong is None:
            raise ValueError("the source")
        yield wrong

    with pytest.raises((ValueError, TypeError), match=r"the source|str is no call") as caught:
        app.enqueue_many_sync(calls())

    assert caught.value.__notes__ == [f"{size} calls before that were enqueued"]
    assert app.run_sync(app.broker.get_queue_size) == size


def test_threads_share_one_loop_and_lose_nothing(app):
    @app.task(name="note")
    async def note(n: int) -> None: ...

    with ThreadPoolExecutor(16) as pool:
        ids = list(pool.map(note.send_sync, range(400)))

    assert len(set(ids)) == 400
    assert app.run_sync(app.broker.get_queue_size) == 400
    assert [thread.name for thread in threading.enumerate()].count("chicory portal") == 1


async def test_on_a_running_event_loop_it_is_refused(app):
    @app.task(name="add")
    async def add(a: int, b: int) -> int:
        return a + b

    text = r"add.delay_sync\(...\) would block .*: await add.delay\(...\) instead"
    with pytest.raises(RuntimeError, match=text):
        add.delay_sync(1, 2)
    with pytest.raises(RuntimeError, match=r"await result.get\(...\) instead"):
        app.result("a").get_sync()
    assert await app.broker.get_queue_size() == 0


async def test_a_task_in_a_thread_may_call_others(app, anyio_backend):
    @app.task(name="inner")
    async def inner(n: int) -> int:
        return n + 1

    @app.task(name="outer")
    def outer(n: int) -> int:
        return inner.delay_sync(n).get_sync(timeout=PATIENCE)

    with anyio.fail_after(PATIENCE):
        async with app, Worker(app, WorkerConfig(concurrency=2)):
            assert await (await outer.delay(1)).get() == 2


def test_context_variables_are_seen(app):
    variable: ContextVar[str] = ContextVar("variable", default="nothing")

    async def read() -> str:
        return variable.get()

    variable.set("set")

    assert app.run_sync(read) == "set"


class Interruption(BaseException):
    pass


def test_an_interrupt_cancels_the_call(app):
    cancelled = threading.Event()

    def interrupt(number, _):
        signal.signal(number, signal.SIG_IGN)
        raise Interruption

    async def endless() -> None:
        try:
            while True:  # one that comes just before the lock is waited for would not end the wait
                signal.pthread_kill(caller, signal.SIGUSR1)
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    caller = threading.get_ident()

    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        with pytest.raises(Interruption):
            app.run_sync(endless)
        assert cancelled.wait(PATIENCE)
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_handler_of_a_signal_may_call_while_a_call_begins(monkeypatch):
    begun: list[str] = []

    def interrupted(_, name: str) -> None:
        begun.append(name)
        if name == "call":
            portal.begin("handler")

    portal = Portal()
    with monkeypatch.context() as patch:
        patch.setattr(portal, "_loop", SimpleNamespace(call_soon_threadsafe=interrupted))
        thread = threading.Thread(target=portal.begin, args=("call",), daemon=True)
        thread.start()
        thread.join(PATIENCE)
    assert begun == ["call", "handler"]
    portal.close()


def test_an_exit_within_a_call_is_the_caller_s(app):
    async def leave() -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        app.run_sync(leave)
    assert app.run_sync(app.broker.get_queue_size) == 0


def test_a_call_that_cancels_itself_does_not_hang(app):
    async def cancel() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        app.run_sync(cancel)


def test_an_argument_may_have_the_name_of_one_of_ours(app, working):
    @app.task(name="odd")
    def odd(self: int, function: int, shown: int) -> int:
        return self + function + shown

    async def add(self: int, function: int, shown: int) -> int:
        return self + function + shown

    with working(app):
        for sender in (odd, odd.options(queue="default")):
            assert sender.delay_sync(self=1, function=2, shown=3).get_sync(PATIENCE) == 6
            task_id = sender.send_sync(self=1, function=2, shown=4)
            assert app.result(task_id).get_sync(PATIENCE) == 7
    assert app.run_sync(add, self=1, function=2, shown=3) == 6
