"""A run while it goes on: its processes, its broker, its ledger, as faults see them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import anyio
from anyio import create_task_group, to_thread

from chicory import Chicory
from chicory.clock import SystemClock
from chicory.config import ChicoryConfig
from chicory.signal import Signal
from chicory.testing.faults.kinds import Kind
from chicory.testing.faults.ledger import DEAD, DONE, Entry, Event, Note, Pen, Reader
from chicory.testing.faults.process import Process
from chicory.testing.faults.proxy import Proxy
from chicory.testing.faults.stage import Stage
from chicory.testing.faults.tasks import make_app
from chicory.transport import Record

GLANCE = 0.05
"""Seconds between looks at the ledger and at the processes."""
_PACKAGE = "chicory.testing.faults"
_STUCK = 1.0
"""Seconds after which others do not get on while a process stands still."""


class RunError(Exception):
    """The run itself cannot go on; the text says why."""


class Scene:
    """What faults are done to.

    Attributes:
        stage: the broker.
        proxy: what workers reach it through, where it is a server.
        lease: seconds.
        app: for the run's own questions; not through the proxy.
        workers, producers: those that were started and are not known to have ended.
        offers: calls that were to be enqueued, by the process that was to do it.
        kinds: calls that were to be enqueued, by kind.
        keeps: whether all entries of the ledger are kept; for millions of calls they are too many.
        over: the calls that have come to their end, as far as the ledger tells.
        ready: ids of the workers that have begun to work.
        failures: processes that ended as they should not.
    """

    def __init__(
        self,
        stage: Stage,
        folder: Path,
        backend: str,
        lease: float,
        environment: Mapping[str, str],
    ) -> None:
        self.stage = stage
        self.lease = lease
        self.ledger = folder / "ledger"
        self.pen = Pen(self.ledger)
        self.entries: list[Entry] = []
        self.workers: list[Process] = []
        self.producers: list[Process] = []
        self.kinds: Counter[str] = Counter()
        self.offers: Counter[int] = Counter()
        self.keeps = True
        self.over: set[str] = set()
        self.ready: set[int] = set()
        self.failures: list[str] = []
        self.proxy: Proxy | None = None
        self.stopping = False
        self._backend = backend
        self._environment = environment
        self._log = (folder / "processes.log").open("ab")
        self._reader = Reader(self.ledger)
        self._signal = Signal(SystemClock())
        self.app: Chicory

    @property
    def offered(self) -> int:
        """How many calls were to be enqueued."""
        return self.kinds.total()

    # -- its begin and end ----------------------------------------------------------------

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[Scene]:
        """Start the broker, and end everything in the end."""
        try:
            await to_thread.run_sync(self.stage.start)
            if self.stage.port is not None:
                self.proxy = Proxy(self.stage.port)
            config = ChicoryConfig(lease=self.lease)
            self.app = make_app(self.stage.url(None), config=config)
            async with self.app, create_task_group() as group:
                group.start_soon(self._tend)
                yield self
                group.cancel_scope.cancel()
        finally:
            self._close()

    def _close(self) -> None:
        for process in [*self.workers, *self.producers]:
            process.close()
        if self.proxy is not None:
            self.proxy.__exit__()
        self.stage.close()
        self._reader.close()
        self.pen.close()
        self._log.close()

    # -- processes ------------------------------------------------------------------------

    def start_worker(
        self, environment: Mapping[str, str] | None = None, *, spare: bool = False
    ) -> Process:
        """Start a worker with this in its environment."""
        worker = self._start("worker", [], environment or {}, spare=spare)
        self.workers.append(worker)
        return worker

    def start_producer(self, seed: str, environment: Mapping[str, str] | None = None) -> Process:
        """Start a producer, which may produce nothing yet."""
        producer = self._start("producer", [seed], environment or {}, spare=True)
        self.producers.append(producer)
        return producer

    def _start(
        self, kind: str, arguments: list[str], environment: Mapping[str, str], *, spare: bool
    ) -> Process:
        port = self.proxy.port if self.proxy else None
        command = [sys.executable, "-m", f"{_PACKAGE}.{kind}", self.stage.url(port)]
        command += [str(self.ledger), self._backend, *arguments]
        popen = subprocess.Popen(  # noqa: S603  (this Python)
            command,
            env={**os.environ, **self._environment, **environment},
            stdin=subprocess.PIPE,  # when this process is gone, they hear of it
            stdout=self._log,
            stderr=self._log,
            process_group=0,  # an interrupt from the terminal is for this process alone
        )
        return Process(popen, spare=spare)

    def allow(self, total: int) -> None:
        """Let producers enqueue that many calls, all in all."""
        rest = max(0, total - self.offered)
        for producer in self.producers:
            producer.tell(str(self.offers[producer.pid] + -(-rest // len(self.producers))))

    def end_producers(self) -> None:
        """Have producers end once they have enqueued what they may."""
        for producer in self.producers:
            producer.hang_up()

    def some_worker(self, chance: Random) -> Process:
        """One of those that run."""
        return chance.choice([w for w in self.workers if w.runs and not w.spare])

    def kill(self, worker: Process) -> None:
        """End a worker as the kernel does."""
        self.enter(Event.KILLED, worker.pid)
        worker.popen.kill()

    async def stop(self, worker: Process) -> None:
        """Make a worker stand still, at a moment at which it does not hold up the others.

        A process that stands still within a transaction of an embedded database keeps its lock.
        """
        while worker.runs:
            worker.popen.send_signal(signal.SIGSTOP)
            self.enter(Event.STOPPED, worker.pid)
            if await self._others_get_on(lambda: self.resume(worker)):
                return

    async def _others_get_on(self, resume: Callable[[], None]) -> bool:
        done = anyio.Event()

        async def probe() -> None:
            await self._probe()
            done.set()

        async with create_task_group() as group:
            group.start_soon(probe)
            with anyio.move_on_after(_STUCK):
                await done.wait()
            if not done.is_set():
                resume()
                await done.wait()
                return False
        return True

    async def _probe(self) -> None:
        session = await self.app.broker_link.session()
        await session.transport.store([Record("probe", b"", 60)])

    def resume(self, worker: Process) -> None:
        """Let it go on."""
        worker.popen.send_signal(signal.SIGCONT)
        self.enter(Event.RESUMED, worker.pid)

    # -- the ledger -----------------------------------------------------------------------

    def enter(self, event: Event, pid: int = 0, detail: str = "") -> None:
        """Note what befalls a process, or the broker."""
        self.pen.enter([Entry(event, time.monotonic(), pid, "", 0, detail)])

    @asynccontextmanager
    async def away(self, why: str = "") -> AsyncGenerator[None]:
        """Note that workers cannot reach the broker in between; ``killed`` where it died."""
        self.enter(Event.AWAY, detail=why)
        try:
            yield
        finally:
            self.enter(Event.BACK)

    async def until(self, true: Callable[[], bool], seconds: float, what: str) -> None:
        """Wait until something is true, looking whenever the ledger or a process has changed.

        Raises ``RunError`` where it does not become true in time.
        """
        with anyio.move_on_after(seconds) as scope:
            while True:
                seen = self._signal.version
                if true():
                    return
                await self._signal.wait(seen)
        if scope.cancelled_caught:
            raise RunError(f"nothing for {seconds:g} s: {what}")

    async def begin(self, kind: Kind, *arguments: object) -> str:
        """Enqueue one call; its id."""
        call = self.app.get_task(kind.value).call(*arguments).prepare(self.app.broker)
        self.pen.note(Event.ABOUT, call.task_id, detail=kind)
        await self.app.broker.enqueue_all([call])
        self.pen.notes([Note(Event.ACCEPTED, call.task_id)])
        return call.task_id

    async def _tend(self) -> None:
        while True:
            self.catch_up()
            await anyio.sleep(GLANCE)

    def catch_up(self) -> None:
        """Look at the ledger and the processes now."""
        entries = self._reader.read()
        for entry in entries:
            if entry.event is Event.ABOUT:
                self.kinds[entry.detail] += 1
                self.offers[entry.pid] += 1
            elif entry.event is Event.REMOVED or (
                entry.event is Event.SETTLED and entry.detail.partition(":")[0] in {DONE, DEAD}
            ):
                self.over.add(entry.key)
            elif entry.event is Event.READY:
                self.ready.add(entry.pid)
        if self.keeps:
            self.entries += entries
        for worker in [worker for worker in self.workers if not worker.runs]:
            self._bury(worker)
        for producer in [producer for producer in self.producers if not producer.runs]:
            self.producers.remove(producer)
            self._close_ended(producer, "producer", {-signal.SIGKILL, 0})
        self._signal.notify()

    def _bury(self, worker: Process) -> None:
        self.workers.remove(worker)
        may_end = self.stopping or worker.spare
        self._close_ended(worker, "worker", {-signal.SIGKILL, 0 if may_end else -signal.SIGKILL})
        if not may_end:
            self.start_worker()

    def _close_ended(self, process: Process, kind: str, codes: set[int]) -> None:
        code = process.popen.returncode
        process.close()
        if code not in codes:
            self.failures.append(f"{kind} {process.pid} ended with code {code}")

    async def leave(self, seconds: float) -> None:
        """Have the workers stop by themselves."""
        self.stopping = True
        for worker in self.workers:
            worker.popen.terminate()
        await self.until(lambda: not self.workers, seconds, "workers do not stop")
