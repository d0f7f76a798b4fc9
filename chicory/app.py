"""The app: tasks by name, and the two doors."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping
from types import MappingProxyType, TracebackType
from typing import Any, ParamSpec, Self, TypeVar, cast, overload

from msgspec import UNSET, UnsetType

from chicory import addresses, portal
from chicory.backend import Backend
from chicory.broker import Broker
from chicory.bulk import Bulk, enqueue_batches
from chicory.clock import Clock, Following, SystemClock
from chicory.codec import PLAIN, Codec
from chicory.config import ChicoryConfig
from chicory.discovery import open_transport
from chicory.errors import BackendNotConfiguredError, ConfigurationError, TaskNotFoundError
from chicory.hooks import Hook
from chicory.masking import mask
from chicory.names import check_name
from chicory.options import Executor, TaskOptions, UniqueKey
from chicory.record import StoredResult
from chicory.result import NO_BACKEND, AsyncResult, Completed, Source, collect
from chicory.retry import RetryPolicy
from chicory.seal import Seal
from chicory.sender import Call
from chicory.session import Link
from chicory.states import BackendType, BrokerType, DeliveryMode, ValidationMode
from chicory.task import AsyncTask, SyncTask, Task, TaskDecorator, default_name
from chicory.transport import Priority, TransportSettings

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
V = TypeVar("V")


class Chicory:
    """An application: its tasks, its broker, its result backend.

    Args:
        broker: a URL, or the name of a broker whose address is in the configuration; nothing
            for the configured one, which is the SQLite file ``chicory.db`` in the current
            folder unless ``CHICORY_BROKER_URL`` or ``CHICORY_BROKER_SQLITE_*`` say otherwise.
        backend: likewise, for results and workers; nothing for the same as the broker (an
            outcome is then stored and its message removed in one step), ``None`` for no results.
        config: settings; what it does not set comes from the environment.
        validation_mode: of tasks that name none.
        delivery_mode: of tasks that name none.
        clock: the time, for tests.
        create: whether to make an SQLite file that is not there, or to refuse it when connecting.

    Raises:
        ConfigurationError: a URL or a setting is wrong; its scheme is unknown.
    """

    def __init__(
        self,
        broker: BrokerType | str | None = None,
        backend: BackendType | str | UnsetType | None = UNSET,
        config: ChicoryConfig | None = None,
        validation_mode: ValidationMode | None = None,
        delivery_mode: DeliveryMode | None = None,
        *,
        clock: Clock | None = None,
        create: bool = True,
    ) -> None:
        self.config = ChicoryConfig() if config is None else config
        if not isinstance(self.config, ChicoryConfig):  # pyright: ignore[reportUnnecessaryIsInstance]  (not every caller is type-checked)
            raise ConfigurationError(
                f"Chicory(config={type(config).__name__}(...)): must be a ChicoryConfig"
            )
        self.validation_mode = validation_mode or self.config.validation_mode
        self.delivery_mode = delivery_mode or self.config.delivery_mode
        self.clock: Clock = clock or SystemClock()
        self._create = create
        self.broker_url = addresses.of_broker(self.config, broker)
        self.backend_url = addresses.of_backend(self.config, backend, self.broker_url)
        self.broker_link = self._link(self.broker_url)
        self.backend_link = (
            self.broker_link
            if self.backend_url == self.broker_url
            else self._link(self.backend_url)
            if self.backend_url is not None
            else None
        )
        self.codec = Codec()
        self.seal = Seal(self.config.signing_keys, required=self.config.signing_required)
        self.broker = Broker(
            self.broker_link,
            self.backend_link,
            self.config.max_message_size,
            self.result_ttl,
            self.seal,
            self.codec,
        )
        self._backend = self.backend_link and Backend(
            self.backend_link, self.result_ttl, self.codec
        )
        self._tasks: dict[str, Task[..., Any]] = {}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({mask(self.broker_url)!r}, {len(self._tasks)} tasks)"

    def _link(self, url: str) -> Link:
        settings = TransportSettings(
            url=url,
            namespace=self.config.namespace,
            lease=self.config.lease,
            clock=self.clock,
            create=self._create,
        )
        return Link(open_transport(settings), self.clock, settings.lease)

    @property
    def backend(self) -> Backend:
        """Results and workers. Raises ``BackendNotConfiguredError`` with ``backend=None``."""
        if self._backend is None:
            raise BackendNotConfiguredError(NO_BACKEND)
        return self._backend

    @property
    def result_ttl(self) -> float:
        """Seconds that results are kept."""
        return self.config.backend.ttl(self.backend_url or "")

    # -- tasks ----------------------------------------------------------------------------

    @property
    def tasks(self) -> Mapping[str, Task[..., Any]]:
        """The registered tasks by name."""
        return MappingProxyType(self._tasks)

    def task(
        self,
        function: None = None,
        /,
        *,
        name: str | None = None,
        retry_policy: RetryPolicy | None = None,
        ignore_result: bool = False,
        validation_mode: ValidationMode | None = None,
        delivery_mode: DeliveryMode | None = None,
        queue: str = "default",
        priority: Priority | int = Priority.NORMAL,
        timeout: float | None = None,
        expires: float | None = None,
        delay: float | None = None,
        unique: UniqueKey | None = None,
        unique_ttl: float | None = None,
        headers: Mapping[str, str] | None = None,
        executor: Executor | None = None,
        max_concurrency: int | None = None,
        max_memory: int | None = None,
    ) -> TaskDecorator:
        """Register a function as a task; see ``TaskOptions`` for the arguments.

        A parameter annotated ``TaskContext`` is given by the worker; callers leave it out.

        Raises:
            ConfigurationError: an option is wrong, the name is taken, or the function cannot be
                found by a worker (a lambda, or one in ``__main__``) and has no ``name``.
        """
        if function is not None:
            raise ConfigurationError("write @app.task(), with parentheses")
        options = TaskOptions(
            name=name,
            retry_policy=retry_policy,
            delivery_mode=delivery_mode or self.delivery_mode,
            ignore_result=ignore_result,
            validation_mode=validation_mode or self.validation_mode,
            queue=queue,
            priority=cast("Priority", priority),  # checked there
            timeout=timeout,
            expires=expires,
            delay=delay,
            unique=unique,
            unique_ttl=unique_ttl,
            headers=headers or {},
            executor=executor,
            max_concurrency=max_concurrency,
            max_memory=max_memory,
        )

        def register(function: Callable[..., Any]) -> Any:
            return self._register(function, options)

        return register

    def _register(self, function: Callable[..., Any], options: TaskOptions) -> Task[..., Any]:
        if isinstance(function, Task):  # one function may be several tasks, or of several apps
            function = function.function
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise ConfigurationError(
                f"task {default_name(function)!r} is a generator: a task returns its one result"
            )
        kind = cast(
            "type[Task[..., Any]]",
            AsyncTask if inspect.iscoroutinefunction(function) else SyncTask,
        )
        task = kind(
            function,
            options,
            self.broker,
            self._backend,
            Following(self),
            self.config.result_default_timeout,
            self.codec,
        )
        if task.name in self._tasks:
            raise ConfigurationError(
                f"two tasks are named {task.name!r}: give one of them another name"
            )
        self._tasks[task.name] = task
        return task

    def get_task(self, name: str) -> Task[..., Any]:
        """The task of that name. Raises ``TaskNotFoundError``."""
        task = self._tasks.get(name)
        if task is None:
            known = ", ".join(sorted(self._tasks)) or "none"
            raise TaskNotFoundError(f"no task is named {name!r}: known are {known}")
        return task

    @overload
    def register_type(
        self, kind: type[T], *, encode: Callable[[T], object], decode: Callable[[Any], T]
    ) -> None: ...
    @overload
    def register_type(
        self, kind: type[T], *, via: type[V], encode: Callable[[T], V], decode: Callable[[V], T]
    ) -> None: ...
    def register_type(
        self,
        kind: type[T],
        *,
        via: Any = Any,
        encode: Callable[[T], Any],
        decode: Callable[[Any], T],
    ) -> None:
        """Have a class that cannot travel by itself do so, as argument and as result.

        To be called wherever the tasks are declared, before the first call that needs it.

        Args:
            kind: the class. A subclass travels in the same way, unless it is registered as well.
            via: the type of what travels in its place, which is checked before ``decode`` sees
                it; without it ``decode`` is given plain values: a list for a tuple, text for a
                ``Decimal``.
            encode: makes that of an instance.
            decode: makes an instance of that. An error of either is a ``ValidationError``.

        Raises ``ConfigurationError`` where the class is registered already, or needs no hooks.
        """
        self.codec.hooks.add(Hook(kind, encode, decode, via))

    def enqueue_many(self, calls: Iterable[Call[R]] | AsyncIterable[Call[R]]) -> Bulk[R]:
        """Publish many calls (``task.call(...)``), a batch of them in each round trip.

        ``await`` it for the handles, in the order given. To hold no more than a batch in memory,
        iterate over it with ``async for``: calls are taken from ``calls`` as the loop goes on, and
        each gives its handle, or a ``Refused`` that says why it was not enqueued.

        Raises (awaited): ``BulkError`` where calls were refused, once the others are enqueued; it
        has the handles of these. A lost connection ends it there, as it ends the iteration with
        ``BrokerConnectionError``.
        """
        return Bulk(calls, self.broker, Following(self))

    def enqueue_many_sync(self, calls: Iterable[Call[R]]) -> list[AsyncResult[R]]:
        """``await enqueue_many(calls)`` for code without an event loop, from any thread.

        ``calls`` is iterated over in the caller's thread, a batch at a time. Raises as
        ``enqueue_many`` does, and ``RuntimeError`` where an event loop runs in this thread.
        """

        async def enqueue(batch: Iterable[Call[R]]) -> list[AsyncResult[R]]:
            return await self.enqueue_many(batch)

        return enqueue_batches(
            calls,
            self.broker.bulk,
            lambda batch: portal.run_sync("app.enqueue_many_sync(...)", enqueue, batch),
        )

    # -- results --------------------------------------------------------------------------

    def result(self, task_id: str) -> AsyncResult[Any]:
        """The handle of a call by its id, in any process; typed where its task is registered.

        Raises ``ValidationError`` for what cannot be an id.
        """
        check_name(task_id, "task id")
        source = Source(self.broker, self._backend, self._read, self.config.result_default_timeout)
        return AsyncResult(task_id, source)

    def _read(self, stored: StoredResult) -> Any:
        task = self._tasks.get(stored.name)
        return task.signature.decode_result(stored.result) if task else _plain(stored)

    def as_completed(self, results: Iterable[AsyncResult[R]]) -> Completed[R]:
        """Iterate (``async for``) over handles as their calls come to an end."""
        return Completed(results)

    async def gather(
        self,
        results: Iterable[AsyncResult[R]],
        timeout: float | None = None,  # noqa: ASYNC109  (as in get)
    ) -> list[R]:
        """The values of these calls, in the order given, once all have come to an end.

        Raises as ``AsyncResult.get`` does, for the first call in that order that failed.
        """
        handles = list(results)
        outcomes = await collect(handles, timeout)
        return [handle.value(outcomes[handle.task_id]) for handle in handles]

    def gather_sync(
        self, results: Iterable[AsyncResult[R]], timeout: float | None = None
    ) -> list[R]:
        """``gather`` for code without an event loop, from any thread.

        Raises as ``gather`` does, and ``RuntimeError`` where an event loop runs in this thread.
        """
        return portal.run_sync("app.gather_sync(...)", self.gather, list(results), timeout)

    def run_sync(self, function: Callable[P, Awaitable[R]], *args: P.args, **kwargs: P.kwargs) -> R:
        """``await function(*args, **kwargs)`` for code without an event loop, from any thread.

        For everything else: ``app.run_sync(app.broker.get_queue_size, "mail")``. All such calls
        of a process share one event loop, which runs in the background: block it never.

        Raises what ``function`` does, and ``RuntimeError`` where an event loop runs in this thread.
        """
        return portal.run_sync("app.run_sync(...)", function, *args, **kwargs)

    # -- connection -----------------------------------------------------------------------

    async def connect(self) -> None:
        """Connect to broker and backend on this event loop; every call would do so by itself.

        Raises ``BrokerConnectionError``, or ``ConfigurationError`` for a server that cannot be
        used as it is; then nothing stays connected.
        """
        try:
            await self.broker_link.session()
            if self.backend_link is not None:
                await self.backend_link.session()
        except BaseException:
            await self.disconnect()
            raise

    async def disconnect(self) -> None:
        """Close this event loop's connections. Idempotent."""
        try:
            await self.broker_link.close()
        finally:
            if self.backend_link is not None:
                await self.backend_link.close()

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.disconnect()


def _plain(stored: StoredResult) -> Any:
    return PLAIN.decoder(Any).decode(stored.result)
