import asyncio
import gc
import threading

import anyio
import pytest
from anyio import fail_after, to_thread
from msgspec import Struct

from chicory import (
    BackendType,
    BrokerType,
    Chicory,
    ChicoryConfig,
    RetryPolicy,
    TaskContext,
    Worker,
    WorkerConfig,
)
from chicory.config import BackendConfig, BrokerConfig, SQLiteBrokerConfig
from chicory.errors import BrokerConnectionError, ConfigurationError, TaskError
from chicory.testing.memory import MemoryTransport
from chicory.transport import TransportSettings

# -- addresses ----------------------------------------------------------------------------


def test_the_default_is_the_embedded_broker_in_the_current_folder():
    app = Chicory()

    assert app.broker_url == "sqlite:///chicory.db?synchronous=normal"
    assert app.backend_link is app.broker_link


@pytest.mark.parametrize(
    ("broker", "backend", "urls"),
    [
        ("memory://a", "memory://b", ("memory://a", "memory://b")),
        ("memory://a", None, ("memory://a", None)),
        (BrokerType.MEMORY, BackendType.MEMORY, ("memory://", "memory://")),
        (BackendType.MEMORY, BrokerType.MEMORY, ("memory://", "memory://")),
        (BrokerType.MEMORY, "sqlite:///x.db", ("memory://", "sqlite:///x.db")),
    ],
)
def test_broker_and_backend_are_given_by_url_or_by_name(broker, backend, urls):
    app = Chicory(broker, backend)

    assert (app.broker_url, app.backend_url) == urls
    assert (app.backend_link is app.broker_link) == (urls[0] == urls[1])


def test_what_is_configured_is_opened(monkeypatch):
    monkeypatch.setenv("CHICORY_BROKER_URL", "memory://a")
    assert Chicory().backend_url == "memory://a"
    monkeypatch.setenv("CHICORY_BACKEND_URL", "memory://b")
    assert (Chicory().broker_url, Chicory().backend_url) == ("memory://a", "memory://b")

    config = ChicoryConfig(
        broker=BrokerConfig(url=None, sqlite=SQLiteBrokerConfig(path="other.db")),
        backend=BackendConfig(url=None),
    )

    app = Chicory(config=config)
    assert app.broker_url == app.backend_url == "sqlite:///other.db?synchronous=normal"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"broker": 5}, r"broker=int\(\.\.\.\)\): must be a URL as text, or a BrokerType"),
        ({"broker": "memory://", "backend": 5}, r"backend=int\(\.\.\.\)\): must be a URL"),
        ({"config": WorkerConfig()}, r"config=WorkerConfig\(\.\.\.\)\): must be a ChicoryConfig"),
        (
            {"broker": "memory://", "validation_mode": "foo"},
            r"^Chicory\(validation_mode='foo'\): must be one of none, inputs, outputs, strict$",
        ),
        (
            {"broker": "memory://", "delivery_mode": "foo"},
            r"^Chicory\(delivery_mode='foo'\): must be one of at_least_once, at_most_once$",
        ),
        ({"broker": "memory:///path"}, r"not an address in memory"),
        ({"broker": "sqlite:///x?speed=9"}, r"no option 'speed'"),
    ],
)
def test_a_wrong_argument_is_a_configuration_error(arguments, error):
    with pytest.raises(ConfigurationError, match=error):
        Chicory(**arguments)


# -- connection ---------------------------------------------------------------------------


async def test_a_call_before_connect_connects_by_itself(app):
    @app.task(name="t")
    async def t(): ...

    await t.delay()

    assert await app.broker.get_queue_size() == 1


async def test_connect_and_disconnect_may_be_repeated(app):
    for _ in range(2):
        await app.connect()
        await app.connect()
        await app.disconnect()
        await app.disconnect()

    assert app.broker_link.opened() is None


class Faulty(MemoryTransport):
    faults: frozenset[str] = frozenset()

    async def open(self):
        if "open" in self.faults:
            raise BrokerConnectionError("down")
        await super().open()

    async def close(self):
        await super().close()
        if "close" in self.faults:
            raise BrokerConnectionError("stuck")


@pytest.fixture
def faulty(clock):
    app = Chicory("memory://a", "memory://b", clock=clock)
    template = Faulty(TransportSettings(url="memory://b", clock=clock))
    Faulty.faults = frozenset()
    app.backend_link.template = template
    return app


async def test_an_app_that_connects_by_half_is_not_connected(faulty):
    Faulty.faults = frozenset({"open"})

    with pytest.raises(BrokerConnectionError, match=r"down"):
        async with faulty:
            pass

    assert faulty.broker_link.opened() is None
    Faulty.faults = frozenset()
    async with faulty:
        assert faulty.backend_link.opened() is not None


async def test_a_door_that_does_not_close_leaves_the_other_closed(faulty):
    faulty.broker_link, faulty.backend_link = faulty.backend_link, faulty.broker_link
    await faulty.connect()
    Faulty.faults = frozenset({"close"})

    with pytest.raises(BrokerConnectionError, match=r"stuck"):
        await faulty.disconnect()

    assert faulty.backend_link.opened() is None
    assert faulty.broker_link.opened() is None


async def test_a_cancelled_program_disconnects(app):
    with anyio.CancelScope() as scope:
        async with app:
            scope.cancel()
            await anyio.lowlevel.checkpoint()

    assert scope.cancelled_caught
    assert app.broker_link.opened() is None


@pytest.mark.parametrize("url", ["memory://", "sqlite:///x.db"])
def test_one_app_serves_two_loops_in_two_threads_at_once(url):
    app = Chicory(url)
    ready = threading.Barrier(2, timeout=30)

    @app.task(name="t")
    async def t(a: int): ...

    async def produce():
        async with app:
            for number in range(50):
                await t.delay(number)
                if number == 0:
                    await to_thread.run_sync(ready.wait)

    thread = threading.Thread(target=lambda: anyio.run(produce, backend="trio"))
    thread.start()
    anyio.run(produce, backend="asyncio")
    thread.join(30)

    assert asyncio.run(app.broker.get_queue_size()) == 100


@pytest.mark.parametrize("url", ["memory://", "sqlite:///x.db"])
def test_one_app_serves_one_loop_after_another(url):
    app = Chicory(url)

    @app.task(name="t")
    async def t(): ...

    for backend in ("asyncio", "trio", "asyncio"):
        anyio.run(t.delay, backend=backend)
    gc.collect()

    assert asyncio.run(app.broker.get_queue_size()) == 3


# -- whole calls, with a worker -----------------------------------------------------------


class Order(Struct):
    number: int
    lines: list[str] = []


@pytest.mark.parametrize(
    ("broker", "backend"),
    [
        ("memory://", "memory://"),
        ("sqlite:///x.db", "sqlite:///x.db"),
        ("memory://", "sqlite:///x.db"),
        ("sqlite:///x.db", "memory://"),
        ("sqlite:///x.db", "sqlite:///y.db"),
    ],
)
async def test_a_call_runs_and_its_result_comes_back_typed(working, broker, backend):
    app = Chicory(broker, backend)

    @app.task(name="ship")
    async def ship(ctx: TaskContext, order: Order, *lines: str) -> Order:
        return Order(order.number + ctx.retries, [*order.lines, *lines])

    @app.task(name="count")
    def count(order: Order) -> int:
        return len(order.lines)

    with fail_after(60):
        async with working(app):
            shipped = await ship.delay(Order(1, ["a"]), "b")
            counted = await count.delay(Order(2, ["x", "y"]))
            values = await app.gather([shipped, counted], timeout=30)

    assert values == [Order(1, ["a", "b"]), 2]


async def test_a_failure_comes_back_with_its_remote_traceback(working):
    app = Chicory("memory://")

    @app.task(name="t", retry_policy=RetryPolicy(max_retries=1, retry_delay=0))
    async def fail(ctx: TaskContext) -> int:
        raise LookupError(f"attempt {ctx.retries}")

    with fail_after(60):
        async with working(app):
            result = await fail.delay()
            with pytest.raises(TaskError, match=r"^LookupError: attempt 1 \(task ") as caught:
                await result.get(timeout=30)
            (letter,) = await app.broker.get_dlq_messages()

    assert "in fail" in caught.value.remote_traceback
    assert (letter.message_id, letter.error, letter.retry_count) == (
        result.task_id,
        "attempt 1",
        1,
    )


async def test_an_unsendable_result_is_a_dead_letter_that_names_the_task(working):
    app = Chicory("memory://")

    @app.task(name="t")
    async def odd() -> object:
        return object()

    with fail_after(60):
        async with working(app):
            with pytest.raises(
                TaskError, match=r"t: return value: builtins\.object cannot be sent"
            ):
                await (await odd.delay()).get(timeout=30)
            (letter,) = await app.broker.get_dlq_messages()

    assert letter.reason == "unusable-result"


async def test_an_endless_error_message_is_retried_like_any_other(working):
    app = Chicory("memory://")

    @app.task(name="t", retry_policy=RetryPolicy(max_retries=1, retry_delay=0))
    async def shout(ctx: TaskContext) -> int:
        if ctx.retries:
            return 1
        raise ValueError("no" * (1 << 20))

    with fail_after(60):
        async with working(app):
            assert await (await shout.delay()).get(timeout=30) == 1


async def test_a_type_that_raises_while_it_is_decoded_kills_no_worker(working):
    class Moody(Struct):
        mood: str

        def __post_init__(self):
            raise LookupError(self.mood)

    app = Chicory("memory://")

    @app.task(name="t", validation_mode="none")
    async def t(moody: Moody): ...

    @app.task(name="u")
    async def u() -> int:
        return 1

    t.signature._hints["moody"] = Moody

    with fail_after(60):
        async with working(app):
            with pytest.raises(TaskError, match=r"argument 'moody': LookupError: bad"):
                await (await t.delay({"mood": "bad"})).get(timeout=30)
            assert await (await u.delay()).get(timeout=30) == 1


async def test_the_worker_may_have_an_app_of_another_process(working):
    def make():
        app = Chicory("sqlite:///x.db")

        @app.task(name="add")
        async def add(a: int, b: int) -> int:
            return a + b

        return app, add

    ours, add = make()
    theirs, _ = make()

    with fail_after(60):
        async with ours, theirs, Worker(theirs):
            result = await add.delay(2, 3)
            assert await result.get(timeout=30) == 5
            assert await ours.result(result.task_id).get(timeout=30) == 5


def test_an_app_shows_where_its_broker_is_and_no_password():
    app = Chicory("sqlite:///tasks.db")
    app.task(name="one")(print)

    assert repr(app) == "Chicory('sqlite:///tasks.db', 1 tasks)"
    assert "hunter2" not in repr(Chicory("redis://me:hunter2@localhost/1"))
