"""The app: tasks by name, and the two doors."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar, Unpack, overload

from msgspec import UNSET, UnsetType

from chicory import addresses, portal
from chicory.accepted import accept, brief
from chicory.backend import Backend
from chicory.broker import Broker
from chicory.bulk import Bulk, Sent, enqueue_batches
from chicory.clock import Clock, Following, SystemClock
from chicory.codec import Codec
from chicory.config import ChicoryConfig
from chicory.errors import BackendNotConfiguredError, ConfigurationError
from chicory.handles import Handles
from chicory.hooks import Hook
from chicory.keywords import TaskKeywords
from chicory.links import link
from chicory.masking import mask
from chicory.names import check_name
from chicory.options import TaskOptions
from chicory.registry import Registry
from chicory.result import NO_BACKEND, AsyncResult, Completed, Source, collect, listed
from chicory.seal import Seal
from chicory.sender import Call
from chicory.session import Link
from chicory.states import BackendType, BrokerType, DeliveryMode, ValidationMode
from chicory.task import Surroundings, Task, TaskDecorator, make_task

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
        self.validation_mode: ValidationMode = self.config.validation_mode
        if validation_mode is not None:
            shown = f"Chicory(validation_mode={brief(validation_mode)})"
            self.validation_mode = accept(validation_mode, ValidationMode, shown)
        self.delivery_mode: DeliveryMode = self.config.delivery_mode
        if delivery_mode is not None:
            shown = f"Chicory(delivery_mode={brief(delivery_mode)})"
            self.delivery_mode = accept(delivery_mode, DeliveryMode, shown)
        self.clock: Clock = clock or SystemClock()
        self.broker_url = addresses.of_broker(self.config, broker)
        self.backend_url = addresses.of_backend(self.config, backend, self.broker_url)
        self.broker_link = link(self.broker_url, self.config, self.clock, create=create)
        self.backend_link: Link | None = self.broker_link
        if self.backend_url is None:
            self.backend_link = None
        elif self.backend_url != self.broker_url:
            self.backend_link = link(self.backend_url, self.config, self.clock, create=create)
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
        self._surroundings = Surroundings(
            self.broker,
            self._backend,
            Following(self),
            self.config.result_default_timeout,
            self.codec,
        )
        self._registry = Registry()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({mask(self.broker_url)!r}, {len(self.tasks)} tasks)"

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
        return self._registry.by_name

    def task(self, function: None = None, /, **options: Unpack[TaskKeywords]) -> TaskDecorator:
        """Register a function as a task; see ``TaskOptions`` for the arguments.

        A parameter annotated ``TaskContext`` is given by the worker; callers leave it out.

        Raises:
            ConfigurationError: an option is wrong, the name is taken, or the function is none (a
                class, a ``partial``), or cannot be found by a worker (a lambda, or one in
                ``__main__``) and has no ``name``.
        """
        if function is not None:
            raise ConfigurationError("write @app.task(), with parentheses")
        modes = {"delivery_mode": self.delivery_mode, "validation_mode": self.validation_mode}
        settings = TaskOptions.of(options, modes)

        def register(function: Callable[..., Any]) -> Any:
            task = make_task(function, settings, self._surroundings)
            self._registry.add(task)
            return task

        return register

    def get_task(self, name: str) -> Task[..., Any]:
        """The task of that name. Raises ``TaskNotFoundError``."""
        return self._registry.get(name)

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

        ``await`` it for the handles, in the order given, each of which is made when it is asked
        for. To hold no more than a batch in memory, iterate over it with ``async for``: calls are
        taken from ``calls`` as the loop goes on, and each gives its handle, or a ``Refused`` that
        says why it was not enqueued.

        Raises (awaited): ``BulkError`` where calls were refused, once the others are enqueued; it
        has the handles of these. A lost connection ends it there, as it ends the iteration with
        ``BrokerConnectionError``. What ``calls`` itself raises comes once all that it gave before
        is enqueued, with a note of how many these were. On SQLite the next batch is taken from
        ``calls`` while one is written: where the connection is lost, all that was taken is refused.
        """
        return Bulk(calls, self.broker, Following(self))

    def enqueue_many_sync(self, calls: Iterable[Call[R]]) -> Handles[R]:
        """``await enqueue_many(calls)`` for code without an event loop, from any thread.

        ``calls`` is iterated over in the caller's thread, a batch at a time. Raises as
        ``enqueue_many`` does, and ``RuntimeError`` where an event loop runs in this thread.
        """

        def enqueue(batch: Iterable[Call[R]], first: int) -> Sent[R]:
            bulk = Bulk(batch, self.broker, Following(self), first)
            return portal.run_sync("app.enqueue_many_sync(...)", bulk.send)

        return enqueue_batches(calls, self.broker.bulk, enqueue)

    # -- results --------------------------------------------------------------------------

    def result(self, task_id: str) -> AsyncResult[Any]:
        """The handle of a call by its id, in any process; typed where its task is registered.

        Raises ``ValidationError`` for what cannot be an id.
        """
        check_name(task_id, "task id")
        timeout = self.config.result_default_timeout
        source = Source(self.broker, self._backend, self._registry.read, timeout)
        return AsyncResult(task_id, source)

    def as_completed(self, results: Iterable[AsyncResult[R]]) -> Completed[R]:
        """Iterate (``async for``) over handles as their calls come to an end.

        Raises ``TypeError`` at once for what is no handle.
        """
        return Completed(results)

    async def gather(
        self,
        results: Iterable[AsyncResult[R]],
        timeout: float | None = None,  # noqa: ASYNC109  (as in get)
    ) -> list[R]:
        """The values of these calls, in the order given, once all have come to an end.

        Raises as ``AsyncResult.get`` does, for the first call in that order that failed, and
        ``TypeError`` for what is no handle.
        """
        handles = listed(results)
        outcomes = await collect(handles, timeout)
        return [handle.value(outcomes[handle.task_id]) for handle in handles]

    def gather_sync(
        self, results: Iterable[AsyncResult[R]], timeout: float | None = None
    ) -> list[R]:
        """``gather`` for code without an event loop, from any thread.

        Raises as ``gather`` does, and ``RuntimeError`` where an event loop runs in this thread.
        """
        return portal.run_sync("app.gather_sync(...)", self.gather, listed(results), timeout)

    def run_sync(
        self, function: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> R:
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
