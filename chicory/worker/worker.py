"""The worker: fetches, runs and settles until it is told to stop, and then loses nothing."""

from __future__ import annotations

import threading
from functools import partial
from types import TracebackType
from typing import Self

from anyio import TASK_STATUS_IGNORED, CancelScope, create_task_group
from anyio.abc import TaskStatus

from chicory.answers import Opening
from chicory.app import Chicory
from chicory.config import WorkerConfig
from chicory.errors import ConfigurationError
from chicory.logs import unfailing
from chicory.loop import spawn
from chicory.stats import WorkerStats
from chicory.worker.plan import Plan
from chicory.worker.reception import opening
from chicory.worker.rota import Queues, Rota
from chicory.worker.run import Run
from chicory.worker.signals import hear_signals
from chicory.worker.watchdog import Watchdog

logger = unfailing("chicory.worker")


class Worker:
    """Consumes queues and runs tasks, under asyncio or trio.

    ``run()`` works until SIGTERM or SIGINT (a second one cancels what still runs), or until
    ``stop()``. ``start()`` and ``stop()``, or ``async with``, do the same in the background.

    Args:
        app: whose tasks to run.
        config: settings; the app's ``config.worker`` where none are given.
        queues: queues to consume: names, in strict order, or names with their weights;
            ``config.queue`` where it is ``None``.
        burst: end by itself when the queues hold nothing that is due and all is settled.
        in_place: run the tasks that want processes of their own in this one, as it is fit for
            tests: see ``chicory.testing``.
        endpoint: where ``/live``, ``/ready`` and ``/metrics`` are answered while the worker runs;
            on ``config.health_port`` where none is given.
        watchdog: ends the process where the worker does not end ``GRACE`` seconds after its time is
            over; not done where none is given, since the process is not the worker's then.

    Raises:
        ConfigurationError: ``app``, ``config`` or ``queues`` is none.
    """

    def __init__(
        self,
        app: Chicory,
        config: WorkerConfig | None = None,
        *,
        queues: Queues | None = None,
        burst: bool = False,
        in_place: bool = False,
        endpoint: Opening | None = None,
        watchdog: Watchdog | None = None,
    ) -> None:
        _check("app", app, Chicory)
        self.app = app
        self.config = app.config.worker if config is None else config
        _check("config", self.config, WorkerConfig)
        rota = Rota((self.config.queue,) if queues is None else queues)
        self.queues = rota.names
        answering = endpoint or opening(self.config)
        self._plan = Plan(app, self.config, rota, burst, in_place, answering, watchdog)
        self._run = Run(self._plan)

    @property
    def worker_id(self) -> str:
        """Its own; another one for each start."""
        return self._run.worker_id

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
            ConfigurationError: the app, or the broker as it is at the start, cannot be worked with.
            BrokerConnectionError: the broker cannot be reached at the start; later on the
                worker waits for it.
        """
        self._begin()
        try:
            if handle_signals and threading.current_thread() is threading.main_thread():
                await self._serve_with_signals(task_status)
            else:
                await self._run.serve(task_status.started)
        finally:
            self._run.end()
        self._raise_error()

    async def start(self) -> None:
        """Work in the background; returns when the worker is ready. Raises as ``run``."""
        self._begin()
        run = self._run
        spawn(partial(run.serve, run.ready.set))
        try:
            await run.ready.wait()
        except BaseException:
            run.cancel()
            with CancelScope(shield=True):
                await run.ended.wait()
            raise
        self._raise_error()

    async def stop(self, timeout: float | None = None) -> None:  # noqa: ASYNC109  (the users' name)
        """Fetch no more, let running tasks finish, give back the rest; returns when that is done.

        Raises what ended the worker before it was told to stop.

        Args:
            timeout: seconds for running tasks; ``config.shutdown_timeout`` where none is given.
                What has not finished by then is cancelled and given back, not failed. Where the
                worker stops already, one that is given counts from now on.
        """
        if self._run.is_busy:
            self._run.stop(timeout)
            await self._run.ended.wait()
        self._raise_error()

    def retire(self, why: str) -> None:
        """Begin to stop, as on a signal; does not wait. To be called on the worker's event loop."""
        self._run.retire(why)

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
        if self._run.is_busy:
            raise RuntimeError("this worker is running already")
        if self._run.has_begun:
            self._run = Run(self._plan)
        self._run.begin()

    def _raise_error(self) -> None:
        error, self._run.error = self._run.error, None
        if error is not None:
            raise error

    # -- signals --------------------------------------------------------------------------

    async def _serve_with_signals(self, task_status: TaskStatus[None]) -> None:
        async with create_task_group() as group:
            await group.start(hear_signals, self._obey, self._cancel, self._overhear)
            await self._run.serve(task_status.started)
            group.cancel_scope.cancel()

    def _obey(self, name: str) -> None:
        running, timeout = self.get_stats().active_tasks, self._run.timeout
        logger.info("%s: stopping; %d running tasks get %g s", name, running, timeout)
        self._run.stop()

    def _cancel(self) -> None:
        logger.warning("second signal: cancelling %d tasks", self.get_stats().active_tasks)
        self._run.cancel()

    def _overhear(self, count: int) -> None:
        self._run.expect_end(self._run.timeout if count == 1 else 0.0)

    # -- what it says of itself -----------------------------------------------------------

    def get_stats(self) -> WorkerStats:
        """The statistics now, without asking the broker."""
        return self._run.stats()

    async def healthcheck(self) -> WorkerStats:
        """The statistics, with ``broker`` and ``backend`` asked now."""
        found = self.get_stats()
        found.broker = await self.app.broker.healthcheck()
        if self.app.backend_link is not None:
            found.backend = await self.app.backend.healthcheck()
        return found


def _check(name: str, given: object, kind: type) -> None:
    """Raise ``ConfigurationError`` for an argument of another kind: not all callers are typed."""
    if not isinstance(given, kind):
        raise ConfigurationError(
            f"Worker({name}={type(given).__name__}(...)): must be a {kind.__name__}"
        )
