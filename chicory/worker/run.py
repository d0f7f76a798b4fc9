"""One run of a worker: from its start to its end, when nothing is held any more."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from anyio import (
    CancelScope,
    CapacityLimiter,
    Event,
    create_task_group,
    move_on_after,
    to_thread,
)

from chicory import stats as statistics
from chicory.logs import unfailing
from chicory.loop import current_loop
from chicory.message import new_id
from chicory.processes import place
from chicory.stats import WorkerStats
from chicory.task import Task
from chicory.transport import Transport, WorkerRecord
from chicory.worker.checkup import Phase
from chicory.worker.connections import clones, opened
from chicory.worker.farewell import Farewell
from chicory.worker.keeper import Keeper
from chicory.worker.meter import Meter
from chicory.worker.plan import Plan, Post
from chicory.worker.portrait import portray
from chicory.worker.reception import Reception, can_measure
from chicory.worker.shift import Shift
from chicory.worker.tally import Tally
from chicory.worker.ward import Ward
from chicory.worker.watchdog import GRACE

logger = unfailing("chicory.worker")

INTRODUCTION = 5.0
"""Seconds that a start waits for the first heartbeat; the worker works meanwhile."""


class Run:
    """``begin``, then ``serve``; once.

    Attributes:
        worker_id: another one for each run.
        has_begun: it cannot begin any more.
        is_busy: it has begun, and has not ended.
        ready: it is at work, or has ended without.
        stopping: it has been told to stop.
        ended: nobody need wait for it any more.
        timeout: seconds that running tasks get then.
        error: what ended it.
        shift: what it holds, while it is at work.
        tally: what was counted.
        reception: answers who asks how it is.
    """

    def __init__(self, plan: Plan) -> None:
        self.worker_id = f"{socket.gethostname()}-{os.getpid()}-{new_id()[-12:]}"
        self.ready: Event
        self.stopping: Event
        self.ended: Event
        self._known: Event
        self.is_busy = self.has_begun = False
        self.timeout = plan.config.shutdown_timeout
        self.error: Exception | None = None
        self.shift: Shift | None = None
        measured = plan.endpoint is not None and can_measure()
        self.tally = Tally(Meter() if measured else None)
        self.reception = Reception(
            plan.config, plan.rota.names, self.tally, self._phase, self.stats
        )
        self._plan = plan
        self._scope: CancelScope
        self._started_at = datetime.now(UTC)
        self._is_running = False
        self._ward: Ward | None = None

    def begin(self) -> None:
        """To be called on the event loop that it will serve on."""
        self.ready, self.stopping, self.ended = Event(), Event(), Event()
        self._known = Event()
        self._scope = CancelScope()
        self._started_at = datetime.now(UTC)
        self.has_begun = self.is_busy = self._is_running = True

    async def serve(self, announce: Callable[[], object]) -> None:
        """Work until told to stop, ``announce()`` once at work; ``error`` is kept, not raised."""
        try:
            with self._scope:
                for task in self._plan.app.tasks.values():
                    self._check(task)  # what can never be run is told now
                with self._told(), self._asked():
                    async with opened(self._plan.app, self.worker_id) as transports:
                        await self._work(transports, announce)
        except Exception as error:  # noqa: BLE001  (raised where run, start or stop is awaited)
            self.error = _plain(error)
            if self.ready.is_set():
                logger.critical("worker %s: ended by an error: %s", self.worker_id, self.error)
        finally:
            self.end()

    def end(self) -> None:
        """Let nobody wait any more; also where it never began to serve."""
        self.is_busy = self._is_running = False
        self.ready.set()
        self.ended.set()

    def stop(self, timeout: float | None = None) -> None:
        """Have it begin to stop; does not wait. ``timeout`` also counts where it has begun to."""
        if timeout is not None:
            self.timeout = timeout
            if self.shift is not None:
                self.shift.allow(timeout)
        self.expect_end(self.timeout)
        self.stopping.set()
        self._known.set()  # nobody waits for that any more
        is_connecting = self.shift is None and not self.ready.is_set()
        if is_connecting:  # nothing is held yet, and the broker may never answer
            self._scope.cancel()

    def cancel(self) -> None:
        """Have it end without waiting for what runs, which is given back."""
        self._scope.cancel()

    def retire(self, why: str) -> None:
        """Begin to stop by itself."""
        if self._is_running and not self.stopping.is_set():
            logger.info("worker %s: %s, stopping", self.worker_id, why)
            self.stop()

    def expect_end(self, seconds: float) -> None:
        """Have the process ended where running tasks get ``seconds``, and it does not end then.

        Also called in the handler of a signal.
        """
        if self._plan.watchdog is not None:
            self._plan.watchdog.expect(seconds + GRACE, self._abandon)

    def _abandon(self) -> None:
        """Give back what the event loop does not come to give back; called on another thread."""
        self._is_running = False
        keeper = self.reception.keeper
        if keeper is not None:
            keeper.abandon()

    def _check(self, task: Task[..., Any]) -> None:
        """Raises ``ConfigurationError`` for a task that cannot be run here."""
        _ = task.signature
        if task.executor == "process" and not self._plan.in_place:
            limit = task.settings.max_memory or self._plan.config.max_process_memory
            place.check(task, limited=limit is not None)

    @contextmanager
    def _told(self) -> Generator[None]:
        logger.info("worker %s: starting", self.worker_id)
        try:
            yield
        finally:
            logger.info(
                "worker %s: stopped after %d tasks, %d of them failed",
                self.worker_id,
                self.tally.processed,
                self.tally.failed,
            )

    @contextmanager
    def _asked(self) -> Generator[None]:
        if self._plan.endpoint is None:
            yield
            return
        with self._plan.endpoint(self.reception):
            yield

    async def _work(self, transports: list[Transport], announce: Callable[[], object]) -> None:
        keeper: Keeper | None = None
        try:
            async with create_task_group() as group:
                post = Post(self._plan, self.worker_id, transports, group, Farewell())
                shift = self.shift = Shift(post, self.tally, self.retire)
                shift.begin()
                try:
                    keeper = self._keeper(shift)
                    keeper.start()
                    self.reception.keeper = keeper
                    self._say_hello()
                    with move_on_after(INTRODUCTION):
                        await self._known.wait()
                    self.ready.set()
                    announce()
                    await self.stopping.wait()
                    await shift.drain(self.timeout)
                finally:
                    group.cancel_scope.cancel()
                    with CancelScope(shield=True):
                        await shift.end()
        finally:
            with CancelScope(shield=True):
                await self._leave(keeper)

    def _keeper(self, shift: Shift) -> Keeper:
        self._ward = Ward(current_loop(), shift, self._heartbeat, self.retire, self._known.set)
        app = self._plan.app
        return Keeper(self._ward, clones(app), app.config.lease, self._plan.config)

    async def _leave(self, keeper: Keeper | None) -> None:
        try:
            if self.shift is not None:
                await self.shift.close()
                await self.shift.dismiss()
        finally:
            self._is_running = False
            if keeper is not None:
                await _stop(keeper)
            self.shift = None

    def _say_hello(self) -> None:
        logger.info(
            "worker %s: %d tasks known, consuming %s, %d at once",
            self.worker_id,
            len(self._plan.app.tasks),
            self._plan.rota,
            self._plan.config.concurrency,
        )

    # -- what it says of itself -----------------------------------------------------------

    def _phase(self) -> Phase:
        if not self.ready.is_set():
            return "starting"
        return "stopping" if self.stopping.is_set() else "working"

    def stats(self) -> WorkerStats:
        """The statistics now; from any thread."""
        stats = portray(
            self.worker_id,
            self._plan.rota.names,
            self._plan.config.concurrency,
            self._started_at,
            self.tally,
            self.shift,
        )
        stats.is_running = self._is_running
        stats.loop_lag = self._ward.lag if self._ward else 0.0
        return stats

    def _heartbeat(self) -> WorkerRecord:
        consumed = self._plan.rota.names if self._is_running else ()
        return WorkerRecord(self.worker_id, consumed, statistics.encode(self.stats()))


def _plain(error: Exception) -> Exception:
    """The error itself, where a task group has wrapped it."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
        error = error.exceptions[0]  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    return error  # pyright: ignore[reportUnknownVariableType]


async def _stop(keeper: Keeper) -> None:
    keeper.dismiss()  # at once: who is cancelled by asyncio itself waits for nothing any more
    try:  # not in the default threads, which may all be in use for ever
        await to_thread.run_sync(keeper.stop, limiter=CapacityLimiter(1))
    except RuntimeError:  # the interpreter ends, and starts no thread any more
        keeper.stop()
