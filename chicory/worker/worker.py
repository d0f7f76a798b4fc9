"""The worker: fetches, runs and settles until it is told to stop, and then loses nothing."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from anyio import (
    TASK_STATUS_IGNORED,
    CancelScope,
    CapacityLimiter,
    Event,
    create_task_group,
    to_thread,
)
from anyio.abc import TaskStatus

from chicory import stats as statistics
from chicory.answers import Opening
from chicory.app import Chicory
from chicory.config import WorkerConfig
from chicory.loop import current_loop, spawn
from chicory.message import new_id
from chicory.stats import WorkerStats
from chicory.transport import Transport, WorkerRecord
from chicory.worker.checkup import Phase
from chicory.worker.connections import clones, opened
from chicory.worker.keeper import Keeper
from chicory.worker.loopwatch import Ward
from chicory.worker.meter import Meter
from chicory.worker.portrait import portray
from chicory.worker.reception import Reception, can_measure, opening
from chicory.worker.rota import Queues, Rota
from chicory.worker.shift import Shift
from chicory.worker.signals import hear_signals
from chicory.worker.tally import Tally
from chicory.worker.watchdog import GRACE, Watchdog

logger = logging.getLogger("chicory.worker")


class Worker:
    """Consumes queues and runs tasks, under asyncio or trio.

    ``run()`` works until SIGTERM or SIGINT (a second one cancels what still runs), or until
    ``stop()``. ``start()`` and ``stop()``, or ``async with``, do the same in the background.

    Args:
        app: whose tasks to run.
        config: settings; the app's ``config.worker`` where none are given.
        queues: queues to consume: names, in strict order, or names with their weights;
            ``config.queue`` where none are given.
        burst: end by itself when the queues hold nothing that is due and all is settled.
        endpoint: where ``/live``, ``/ready`` and ``/metrics`` are answered while the worker runs;
            on ``config.health_port`` where none is given.
        watchdog: ends the process where the worker does not end ``GRACE`` seconds after its time is
            over; not done where none is given, since the process is not the worker's then.
    """

    def __init__(
        self,
        app: Chicory,
        config: WorkerConfig | None = None,
        *,
        queues: Queues | None = None,
        burst: bool = False,
        endpoint: Opening | None = None,
        watchdog: Watchdog | None = None,
    ) -> None:
        self.app = app
        self.config = config or app.config.worker
        self._rota = Rota(queues or (self.config.queue,))
        self.queues = self._rota.names
        self._burst = burst
        self.worker_id = _new_worker_id()
        self._shift: Shift | None = None
        self._ward: Ward | None = None
        self._endpoint = endpoint or opening(self.config)
        self._reception = Reception(self.config, self.queues, self._phase, self.get_stats)
        self._tally = Tally()
        self._watchdog = watchdog
        self._announce: Callable[[], object]
        self._is_busy = False
        self._has_run = False
        self._is_running = False
        self._started_at = datetime.now(UTC)
        self._timeout = self.config.shutdown_timeout
        self._error: BaseException | None = None

    # -- life -----------------------------------------------------------------------------

    async def run(
        self,
        *,
        handle_signals: bool = True,
        task_status: TaskStatus[None] = TASK_STATUS_IGNORED,
    ) -> None:
        """Work until a signal or ``stop()``; ``await group.start(worker.run)`` until it is ready.

        Args:
            handle_signals: stop on SIGTERM and SIGINT, where it runs in the main thread.
            task_status: given by ``group.start``.

        Raises:
            ConfigurationError: the app, or the broker as it is, cannot be worked with.
            BrokerConnectionError: the broker cannot be reached at the start; later on the
                worker waits for it.
        """
        self._begin()
        self._announce = task_status.started
        try:
            if handle_signals and threading.current_thread() is threading.main_thread():
                await self._serve_with_signals()
            else:
                await self._serve()
        finally:
            self._end()
        self._raise_error()

    async def start(self) -> None:
        """Work in the background; returns when the worker is ready. Raises as ``run``."""
        self._begin()
        self._announce = self._ready.set
        spawn(self._serve)
        try:
            await self._ready.wait()
        except BaseException:
            self._scope.cancel()
            with CancelScope(shield=True):
                await self._ended.wait()
            raise
        self._raise_error()

    async def stop(self, timeout: float | None = None) -> None:  # noqa: ASYNC109  (the users' name)
        """Fetch no more, let running tasks finish, give back the rest; returns when that is done.

        Raises what ended the worker before it was told to stop.

        Args:
            timeout: seconds for running tasks; ``config.shutdown_timeout`` where none is given.
                What has not finished by then is cancelled and given back, not failed.
        """
        if self._is_busy:
            if timeout is not None:
                self._timeout = timeout
            self._request_stop()
            await self._ended.wait()
        self._raise_error()

    def retire(self, why: str) -> None:
        """Begin to stop, as on a signal; does not wait. To be called on the worker's event loop."""
        if self._is_running and not self._stopping.is_set():
            logger.info("worker %s: %s, stopping", self.worker_id, why)
            self._request_stop()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with CancelScope(shield=True):
            await self.stop()

    def _begin(self) -> None:
        if self._is_busy:
            raise RuntimeError("this worker is running already")
        if self._has_run:
            self.worker_id = _new_worker_id()
        self._is_busy = self._is_running = self._has_run = True
        self._ready, self._stopping, self._ended = Event(), Event(), Event()
        self._scope = CancelScope()
        self._error = None
        self._timeout = self.config.shutdown_timeout
        self._started_at = datetime.now(UTC)
        measured = self._endpoint is not None and can_measure()
        self._tally = self._reception.tally = Tally(Meter() if measured else None)
        self._reception.keeper = self._ward = None

    def _end(self) -> None:
        self._is_busy = self._is_running = False
        self._ready.set()
        self._ended.set()

    def _request_stop(self) -> None:
        self._expect_end(self._timeout)
        self._stopping.set()
        if not self._ready.is_set():  # nothing is held yet, and the broker may never answer
            self._scope.cancel()

    def _raise_error(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error

    # -- one shift ------------------------------------------------------------------------

    async def _serve(self) -> None:
        """Work until told to stop; an error is kept for those who wait for the end."""
        try:
            with self._scope:
                for task in self.app.tasks.values():
                    _ = task.signature  # what can never be run is told now
                with self._told(), self._asked():
                    async with opened(self.app, self.worker_id) as transports:
                        await self._work(transports)
        except Exception as error:  # noqa: BLE001  (raised where run, start or stop is awaited)
            self._error = _plain(error)
            if self._ready.is_set():
                logger.critical("worker %s: ended by an error: %s", self.worker_id, self._error)
        finally:
            self._end()

    @contextmanager
    def _told(self) -> Generator[None]:
        logger.info("worker %s: starting", self.worker_id)
        try:
            yield
        finally:
            logger.info(
                "worker %s: stopped after %d tasks, %d of them failed",
                self.worker_id,
                self._tally.processed,
                self._tally.failed,
            )

    @contextmanager
    def _asked(self) -> Generator[None]:
        if self._endpoint is None:
            yield
            return
        with self._endpoint(self._reception):
            yield

    async def _serve_with_signals(self) -> None:
        async with create_task_group() as group:
            await group.start(hear_signals, self._obey, self._cancel, self._overhear)
            await self._serve()
            group.cancel_scope.cancel()

    def _obey(self, name: str) -> None:
        running = self.get_stats().active_tasks
        logger.info("%s: stopping; %d running tasks get %g s", name, running, self._timeout)
        self._request_stop()

    def _cancel(self) -> None:
        logger.warning("second signal: cancelling %d tasks", self.get_stats().active_tasks)
        self._scope.cancel()

    def _overhear(self, count: int) -> None:
        self._expect_end(self._timeout if count == 1 else 0.0)

    def _expect_end(self, seconds: float) -> None:
        if self._watchdog is not None:
            self._watchdog.expect(seconds + GRACE, self._abandon)

    def _abandon(self) -> None:
        """Give back what the event loop does not come to give back; called on another thread."""
        self._is_running = False
        keeper = self._reception.keeper
        if keeper is not None:
            keeper.abandon()

    async def _work(self, transports: list[Transport]) -> None:
        keeper: Keeper | None = None
        try:
            async with create_task_group() as group:
                shift = self._shift = Shift(
                    self.app,
                    self.config,
                    self.worker_id,
                    self._rota,
                    transports,
                    group,
                    self._tally,
                    self.retire,
                    burst=self._burst,
                )
                try:
                    keeper = self._keeper(shift)
                    keeper.start()
                    self._reception.keeper = keeper
                    self._say_hello()
                    self._ready.set()
                    self._announce()
                    await self._stopping.wait()
                    await shift.drain(self._timeout)
                finally:
                    group.cancel_scope.cancel()
                    with CancelScope(shield=True):
                        await shift.end()
        finally:
            with CancelScope(shield=True):
                await self._leave(keeper)

    def _keeper(self, shift: Shift) -> Keeper:
        self._ward = Ward(current_loop(), shift, self._heartbeat, self.retire)
        return Keeper(self._ward, clones(self.app), self.app.config.lease, self.config)

    async def _leave(self, keeper: Keeper | None) -> None:
        try:
            if self._shift is not None:
                await self._shift.close()
        finally:
            self._is_running = False
            if keeper is not None:
                await _stop(keeper)
            self._shift = None

    def _say_hello(self) -> None:
        logger.info(
            "worker %s: %d tasks known, consuming %s, %d at once",
            self.worker_id,
            len(self.app.tasks),
            self._rota,
            self.config.concurrency,
        )

    # -- what it says of itself -----------------------------------------------------------

    def _phase(self) -> Phase:
        if not self._ready.is_set():
            return "starting"
        return "stopping" if self._stopping.is_set() else "working"

    def get_stats(self) -> WorkerStats:
        """The statistics now, without asking the broker."""
        stats = portray(
            self.worker_id,
            self.queues,
            self.config.concurrency,
            self._started_at,
            self._tally,
            self._shift,
        )
        stats.is_running = self._is_running
        stats.loop_lag = self._ward.lag if self._ward else 0.0
        return stats

    async def healthcheck(self) -> WorkerStats:
        """The statistics, with ``broker`` and ``backend`` asked now."""
        found = self.get_stats()
        found.broker = await self.app.broker.healthcheck()
        if self.app.backend_link is not None:
            found.backend = await self.app.backend.healthcheck()
        return found

    def _heartbeat(self) -> WorkerRecord:
        consumed = self.queues if self._is_running else ()
        return WorkerRecord(self.worker_id, consumed, statistics.encode(self.get_stats()))


def _new_worker_id() -> str:
    return f"{socket.gethostname()}-{os.getpid()}-{new_id()[-12:]}"


def _plain(error: Exception) -> Exception:
    """The error itself, where a task group has wrapped it."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
        error = error.exceptions[0]  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    return error  # pyright: ignore[reportUnknownVariableType]


async def _stop(keeper: Keeper) -> None:
    try:  # not in the default threads, which may all be in use for ever
        await to_thread.run_sync(keeper.stop, limiter=CapacityLimiter(1))
    except RuntimeError:  # the interpreter ends, and starts no thread any more
        keeper.stop()
