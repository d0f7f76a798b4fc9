"""Usage that pyright must accept, and mistakes that it must find.

Checked by ``test_typing.py``; never run. A mistake is pinned by an ignore that names its rule:
where pyright does not complain of the mistake, it complains of the needless ignore.
"""
# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any, NoReturn, assert_type

from msgspec import Struct

from chicory import (
    AsyncResult,
    BackendType,
    BrokerType,
    BulkError,
    Call,
    Cancelled,
    Chicory,
    ChicoryConfig,
    ChicoryError,
    DeliveryMode,
    Handles,
    Priority,
    Progress,
    Refused,
    RetryBackoff,
    RetryPolicy,
    Task,
    TaskContext,
    TaskMessage,
    TaskResult,
    TaskState,
    ValidationMode,
    Worker,
    WorkerConfig,
    WorkerStats,
    current,
)
from chicory.config import BrokerConfig, NatsBrokerConfig, RedisBrokerConfig, SQLiteBrokerConfig
from chicory.testing import Enqueued, Lab, Rehearsal


class Order(Struct):
    number: int


app = Chicory()
by_name = Chicory(broker=BrokerType.REDIS, backend=BackendType.REDIS, config=ChicoryConfig())
by_url = Chicory("redis://localhost:6379/0", backend=None)


@app.task()
async def add(a: int, b: int = 2) -> int:
    return a + b


def of_order(order: Order, *, express: bool = False) -> str | None:
    return None if express else str(order.number)


@app.task(
    name="orders.ship",
    retry_policy=RetryPolicy(max_retries=5),
    queue="mail",
    delay=5,
    unique=of_order,
    unique_ttl=3600,
    headers={"a": "b"},
)
async def ship(ctx: TaskContext, order: Order, *, express: bool = False) -> Order:
    if ctx.is_last_retry:
        ctx.fail("too late")
    if ctx.remaining_retries > 1:
        ctx.retry(countdown=5, exc=ValueError(express))
    return order


@app.task(ignore_result=True, timeout=5, expires=60, priority=Priority.HIGH)
def write(path: str, *lines: str, **options: int) -> None:
    del path, lines, options


@app.task(executor="process", max_memory=512, max_concurrency=2)
def crunch(ctx: TaskContext, orders: list[Order]) -> float:
    return len(orders) + ctx.retries


@app.task(executor="process")
async def gather_there(number: int) -> int:
    return number


app.task(executor="fiber")  # pyright: ignore[reportArgumentType]


@app.task(validation_mode=ValidationMode.STRICT, delivery_mode=DeliveryMode.AT_MOST_ONCE)
def count(ctx: TaskContext, orders: list[Order]) -> int:
    return len(orders) + ctx.retries


@app.task()
async def give_up(ctx: TaskContext) -> NoReturn:
    ctx.fail(ValueError("no"))


async def calls() -> None:
    assert_type(await add.delay(1, 2), AsyncResult[int])
    assert_type(await add.delay(1), AsyncResult[int])
    assert_type(await add.delay(a=1, b=2), AsyncResult[int])
    assert_type(await add.send(1, b=2), str)
    coroutine = assert_type(add(1, 2), Coroutine[Any, Any, int])
    assert_type(await coroutine, int)

    assert_type(await ship.delay(Order(1), express=True), AsyncResult[Order])
    assert_type(await ship.send(Order(1)), str)
    assert_type(await ship(Order(1)), Order)

    assert_type(await write.delay("path", "line", mode=1), AsyncResult[None])
    assert_type(write("path", "line", mode=1), None)

    assert_type(await count.delay([Order(1)]), AsyncResult[int])
    assert_type(count([Order(1)]), int)
    assert_type(await give_up.delay(), AsyncResult[NoReturn])


async def calls_with_options() -> None:
    later = add.options(delay=60, priority=Priority.HIGH, unique="key", unique_ttl=5, expires=9)
    assert_type(await later.delay(1, 2), AsyncResult[int])
    assert_type(await later.send(1, b=2), str)
    assert_type(await later.options(queue="mail").delay(1), AsyncResult[int])
    assert_type(later.call(1), Call[int])
    whole = ship.options(eta=datetime.now(UTC), timeout=None, retry_policy=RetryPolicy())
    assert_type(await whole.delay(Order(1), express=True), AsyncResult[Order])
    add.options(unique=lambda a, b=2: f"{a + b}", headers={"a": "b"}, priority=0)
    ship.options(unique=of_order)

    await later.delay("1")  # pyright: ignore[reportArgumentType]
    await later.delay()  # pyright: ignore[reportCallIssue]
    later.call(1, 2, 3)  # pyright: ignore[reportCallIssue]
    await whole.delay(1)  # pyright: ignore[reportArgumentType]
    add.options(dealy=1)  # pyright: ignore[reportCallIssue]
    add.options(delay="1")  # pyright: ignore[reportArgumentType]
    add.options(eta=60)  # pyright: ignore[reportArgumentType]
    add.options(unique=5)  # pyright: ignore[reportArgumentType]
    add.options(unique=of_order)  # pyright: ignore[reportArgumentType]
    add.options(queue=None)  # pyright: ignore[reportArgumentType]


async def many_calls() -> None:
    handles = await app.enqueue_many(add.call(n) for n in range(10))
    assert_type(handles, Handles[int])
    assert_type(handles[0], AsyncResult[int])
    assert_type(await app.gather(handles), list[int])
    async for one in app.enqueue_many([add.call(1), add.options(delay=5).call(2)]):
        assert_type(one, AsyncResult[int] | Refused)
    mixed: list[Call[int] | Call[None]] = [add.call(1), write.call("path")]
    del mixed
    try:
        await app.enqueue_many([ship.call(Order(1))])
    except BulkError as error:
        assert_type(error.refused[0].error, ChicoryError)

    app.enqueue_many([add])  # pyright: ignore[reportArgumentType]
    app.enqueue_many([(1, 2)])  # pyright: ignore[reportArgumentType]


async def knowing(ctx: TaskContext) -> None:
    assert_type(current(), TaskContext)
    assert_type(ctx.deadline, datetime | None)
    assert_type(await (await add.delay(1)).progress(), Progress | None)
    ctx.progress(1, 2, "half")
    ctx.progress("1")  # pyright: ignore[reportArgumentType]
    ctx.snooze(5)


async def testing(lab: Lab) -> None:
    assert_type(await lab.drain(), int)
    assert_type(lab.assert_enqueued(ship, Order(1), express=True), Enqueued)
    assert_type(await Rehearsal(ship, retries=1).run(Order(1)), Order)
    assert_type(Rehearsal(count).run_sync([Order(1)]), int)
    lab.assert_enqueued(ship, 1)  # pyright: ignore[reportArgumentType]
    await Rehearsal(add).run("1")  # pyright: ignore[reportArgumentType]


class Money:
    def __init__(self, cents: int) -> None:
        self.cents = cents


def pair(money: Money) -> tuple[int, str]:
    return money.cents, "EUR"


def from_pair(pair: tuple[int, str]) -> Money:
    return Money(pair[0])


def from_plain(pair: list[int]) -> Money:
    return Money(pair[0])


def types() -> None:
    app.register_type(Money, via=int, encode=lambda money: money.cents, decode=Money)
    app.register_type(Money, via=tuple[int, str], encode=pair, decode=from_pair)
    app.register_type(Money, encode=pair, decode=from_plain)
    app.register_type(Money, encode=lambda money: [money.cents], decode=lambda v: Money(*v))

    app.register_type(Money, via=str, encode=pair, decode=from_pair)  # pyright: ignore[reportArgumentType]
    app.register_type(Money, via=int, encode=hash, decode=from_pair)  # pyright: ignore[reportArgumentType]
    app.register_type(Money, encode=pair, decode=str)  # pyright: ignore[reportArgumentType]
    app.register_type(Order, encode=pair, decode=from_pair)  # pyright: ignore[reportArgumentType]
    app.register_type(Money(1), encode=pair, decode=from_pair)  # pyright: ignore[reportArgumentType]
    app.register_type(Money, encode=pair)  # pyright: ignore[reportCallIssue]


async def cancelling() -> None:
    assert_type(await (await add.delay(1)).cancel(), Cancelled)
    assert_type(await app.result("id").cancel(), Cancelled)
    assert_type(await app.broker.cancel("id"), Cancelled)


def without_a_loop() -> None:
    result = assert_type(add.delay_sync(1, b=2), AsyncResult[int])
    assert_type(result.get_sync(timeout=5), int)
    assert_type(add.options(delay=5).send_sync(1), str)
    assert_type(ship.delay_sync(Order(1), express=True), AsyncResult[Order])
    assert_type(app.enqueue_many_sync(add.call(n) for n in range(9)), Handles[int])
    assert_type(app.gather_sync([result], timeout=5), list[int])
    assert_type(app.run_sync(app.broker.get_queue_size, "mail"), int)

    add.delay_sync("1")  # pyright: ignore[reportArgumentType]
    add.send_sync()  # pyright: ignore[reportCallIssue]
    app.run_sync(app.broker.get_queue_size, 5)  # pyright: ignore[reportArgumentType]
    app.run_sync(add.delay, "1")  # pyright: ignore[reportArgumentType]


async def mistakes() -> None:
    await add.delay("1")  # pyright: ignore[reportArgumentType]
    await add.delay(1, 2, 3)  # pyright: ignore[reportCallIssue]
    await add.delay()  # pyright: ignore[reportCallIssue]
    await add.delay(1, c=3)  # pyright: ignore[reportCallIssue]
    await add.send(1, b="2")  # pyright: ignore[reportArgumentType]
    await add("1")  # pyright: ignore[reportArgumentType]
    add.delay(1)  # pyright: ignore[reportUnusedCoroutine]
    add(1)  # pyright: ignore[reportUnusedCoroutine]

    await ship.delay(TaskContext("a", "b"), Order(1))  # pyright: ignore[reportCallIssue]
    await ship.delay(Order(1), 1)  # pyright: ignore[reportCallIssue]
    await ship.send({"number": 1})  # pyright: ignore[reportArgumentType]
    await ship()  # pyright: ignore[reportCallIssue]

    await write.delay(1)  # pyright: ignore[reportArgumentType]
    await write.send("path", mode="x")  # pyright: ignore[reportArgumentType]
    await write("path")  # pyright: ignore[reportGeneralTypeIssues]
    count(["a"])  # pyright: ignore[reportArgumentType]
    await count.delay([1])  # pyright: ignore[reportArgumentType]

    wrong: AsyncResult[str] = await add.delay(1)  # pyright: ignore[reportAssignmentType]
    del wrong


async def results() -> None:
    result = await add.delay(1)

    assert_type(await result.get(), int)
    assert_type(await result.get(timeout=5), int)
    assert_type(await result.get(timeout=None), int)
    assert_type(await result.state(), TaskState)
    assert_type(await result.ready(), bool)
    assert_type(await result.failed(), bool)
    assert_type(result.task_id, str)
    assert_type(await add.result("id").get(), int)
    assert_type(await app.result("id").get(), Any)
    assert_type(await app.gather([result, await add.delay(2)], timeout=5), list[int])
    async for one in app.as_completed([result]):
        assert_type(one, AsyncResult[int])

    text: str = await result.get()  # pyright: ignore[reportAssignmentType]
    await result.get("5")  # pyright: ignore[reportArgumentType]
    await app.gather([add])  # pyright: ignore[reportArgumentType]
    del text

    wider: AsyncResult[int | str] = result
    del wider


def options() -> None:
    @app.task  # pyright: ignore[reportArgumentType]
    def bare() -> None: ...

    app.task(nmae="x")  # pyright: ignore[reportCallIssue]
    app.task(timeout="5")  # pyright: ignore[reportArgumentType]
    app.task(retry_policy=3)  # pyright: ignore[reportArgumentType]
    RetryPolicy(max_retries=3, backoff=RetryBackoff.LINEAR, retry_on=[ValueError, "KeyError"])
    RetryPolicy(max_retires=3)  # pyright: ignore[reportCallIssue]
    RetryPolicy(retry_on=ValueError)  # pyright: ignore[reportArgumentType]
    Chicory(5)  # pyright: ignore[reportArgumentType]
    WorkerConfig(concurency=4)  # pyright: ignore[reportCallIssue]
    WorkerConfig(concurrency="4")  # pyright: ignore[reportArgumentType]
    ChicoryConfig(
        broker=BrokerConfig(
            redis=RedisBrokerConfig(host="h", port=6379, password="p"),
            nats=NatsBrokerConfig(),
            sqlite=SQLiteBrokerConfig(path="x.db", synchronous="full"),
        ),
        worker=WorkerConfig(concurrency=4, queue="mail"),
        result_default_timeout=5.0,
    )
    del bare


async def doors() -> None:
    assert_type(await app.broker.publish(TaskMessage(id="a", name="t", args=[1])), str)
    assert_type(await app.broker.get_queue_size("mail"), int)
    assert_type((await app.broker.get_dlq_messages())[0].original_message, TaskMessage | None)
    assert_type(await app.broker.replay_from_dlq("a", queue="mail", reset_retries=False), bool)
    assert_type(await app.backend.get_active_workers(), list[WorkerStats])
    assert_type(await app.backend.get_result("a"), TaskResult | None)
    assert_type(app.get_task("t"), Task[..., Any])


async def workers() -> None:
    worker = Worker(app, config=WorkerConfig(concurrency=4))
    await worker.run()
    await worker.start()
    await worker.stop(timeout=5)
    async with app, Worker(app) as running:
        assert_type(running.get_stats(), WorkerStats)
        assert_type(running.worker_id, str)
