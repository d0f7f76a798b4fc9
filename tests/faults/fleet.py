"""Worker processes on one broker, and a ledger of what they did that no kill can falsify."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from random import Random
from typing import NamedTuple

from anyio import Event
from program import make_app

from chicory import AsyncResult, Chicory
from chicory.clock import SystemClock
from chicory.signal import Signal

AHEAD = 40
"""Calls that wait, at most, while more are enqueued."""
PROGRAM = Path(__file__).with_name("program.py")


class Entry(NamedTuple):
    """One line of the ledger."""

    event: str
    key: str
    pid: int
    at: float


class Ledger:
    """A pipe that all workers write to: a line that was written outlives its writer."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self._reading, self.writing = os.pipe()
        self._signal = Signal(SystemClock())
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def close(self) -> None:
        os.close(self.writing)  # the last writer: the others are dead
        self._thread.join()

    def _read(self) -> None:
        with os.fdopen(self._reading) as lines:
            for line in lines:
                event, key, pid, at = line.rstrip("\n").split("\t")
                self.entries.append(Entry(event, key, int(pid), float(at)))
                self._signal.notify()

    def of(self, event: str, key: str | None = None) -> list[Entry]:
        return [e for e in tuple(self.entries) if e.event == event and key in {None, e.key}]

    def by_key(self, event: str) -> dict[str, list[Entry]]:
        found: defaultdict[str, list[Entry]] = defaultdict(list)
        for entry in self.of(event):
            found[entry.key].append(entry)
        return found

    def counted(self, event: str) -> Counter[str]:
        return Counter(entry.key for entry in self.of(event))

    async def until(self, true: Callable[[Ledger], object]) -> None:
        """Wait until something is true of the ledger."""
        while True:
            seen = self._signal.version
            if true(self):
                return
            await self._signal.wait(seen)

    async def has(self, event: str, count: int = 1, *, text: str = "", pid: int = 0) -> None:
        """Wait until something has happened that often."""
        await self.until(
            lambda ledger: (
                sum(text in e.key and pid in {0, e.pid} for e in ledger.of(event)) >= count
            )
        )


class Fleet:
    """Starts workers and ends them by their handles; none outlives it."""

    def __init__(self, url: str, folder: Path, backend: str) -> None:
        self.url = url
        self.ledger = Ledger()
        self.killed: dict[int, float] = {}
        self.app: Chicory = make_app(self.url, lambda *_: None)
        self.handles: dict[str, AsyncResult[int]] = {}
        self.workers: list[subprocess.Popen[bytes]] = []
        self._backend = backend
        self._log = (folder / "workers.log").open("wb")

    def start(self, count: int = 1, **settings: object) -> list[subprocess.Popen[bytes]]:
        """Start workers with these settings."""
        environment = {f"CHICORY_{name.upper()}": str(value) for name, value in settings.items()}
        started = [
            subprocess.Popen(
                [sys.executable, PROGRAM, self.url, str(self.ledger.writing), self._backend],
                pass_fds=[self.ledger.writing],
                stderr=self._log,
                env=os.environ | environment,
            )
            for _ in range(count)
        ]
        self.workers += started
        return started

    async def ready(self, worker: subprocess.Popen[bytes]) -> None:
        """Wait until a worker works."""
        await self.ledger.has("ready", pid=worker.pid)

    def stop(self, worker: subprocess.Popen[bytes]) -> None:
        """Make a worker stand still; on SQLite, between two of its transactions.

        A process that stands still within one keeps the file's lock, as SQLite documents: no
        other worker gets on until it goes on or ends.
        """
        while True:
            worker.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, worker.pid, os.WSTOPPED)
            if self._is_writable():
                return
            worker.send_signal(signal.SIGCONT)

    def _is_writable(self) -> bool:
        scheme, _, path = self.url.partition(":///")
        if scheme != "sqlite":
            return True
        with closing(sqlite3.connect(path, timeout=0.1, isolation_level=None)) as database:
            try:
                database.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return False
            return True

    def kill(self, worker: subprocess.Popen[bytes]) -> None:
        """End a worker as the kernel does."""
        worker.kill()
        worker.wait()
        self.workers.remove(worker)
        self.bury(worker)

    def bury(self, worker: subprocess.Popen[bytes]) -> None:
        """Note that a worker is dead."""
        self.killed[worker.pid] = SystemClock().now()

    async def produce(self, name: str, longest: float, chance: Random, enough: Event) -> None:
        """Enqueue calls until it is enough, never more ahead of the workers than they run soon."""
        while not enough.is_set():
            key = str(len(self.handles))
            self.handles[key] = await self.task(name).delay(key, chance.uniform(0, longest))
            accepted = len(self.handles)
            await self.ledger.until(
                lambda ledger, accepted=accepted: accepted - len(ledger.of("started")) < AHEAD
            )

    def task(self, name: str):
        return self.app.get_task(name)

    def close(self) -> None:
        for worker in self.workers:
            worker.send_signal(signal.SIGCONT)
            worker.kill()
            worker.wait()
        self.ledger.close()
        self._log.close()
