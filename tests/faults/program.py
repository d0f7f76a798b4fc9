"""A worker process: ``python program.py URL LEDGER BACKEND``, configured by its environment.

LEDGER is a descriptor to write to: one line for each thing that happens, whole or not at all.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from io import FileIO
from pathlib import Path

import anyio

from chicory import Chicory, DeliveryMode, Worker


class Notes(logging.Handler):
    """Writes of what happens, and of what is logged, in one write each."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor

    def note(self, event: str, key: str) -> None:
        line = f"{event}\t{key}\t{os.getpid()}\t{time.time()}\n"
        os.write(self._descriptor, line.encode())

    def emit(self, record):
        self.note("logged", record.getMessage().splitlines()[0][:200].replace("\t", " "))


class Gate:
    """What calls wait for until it is opened: a pipe with a name, of which they await the end.

    Attributes:
        path: where it is.
    """

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.path = str(path)
        self._writing = os.open(path, os.O_RDWR)  # to write alone would wait for a reader

    def open(self) -> None:
        """Let all pass, also those who come later."""
        if self._writing >= 0:
            os.close(self._writing)
            self._writing = -1


def _come_to(gate: str) -> FileIO:
    # who comes when it is open would wait for a writer for ever
    return FileIO(os.open(gate, os.O_RDONLY | os.O_NONBLOCK))


async def wait_at(gate: str) -> None:
    """Wait until a gate is open."""
    with _come_to(gate) as pipe:
        while pipe.read(1) is None:  # nobody writes: at the end it is empty
            await anyio.wait_readable(pipe)


def block_at(gate: str) -> None:
    """Block this thread until a gate is open."""
    with _come_to(gate) as pipe:
        os.set_blocking(pipe.fileno(), True)
        pipe.read(1)


def make_app(url: str, note) -> Chicory:
    """The app of workers and of producers, which note nothing."""
    app = Chicory(url)

    @app.task(name="work")
    async def work(key: str, seconds: float) -> int:
        note("started", key)
        await anyio.sleep(seconds)
        note("finished", key)
        return os.getpid()

    @app.task(name="work_in_thread")
    def work_in_thread(key: str, seconds: float) -> int:
        note("started", key)
        time.sleep(seconds)
        note("finished", key)
        return os.getpid()

    @app.task(name="work_once", delivery_mode=DeliveryMode.AT_MOST_ONCE)
    async def work_once(key: str, seconds: float) -> int:
        note("started", key)
        await anyio.sleep(seconds)
        note("finished", key)
        return os.getpid()

    _add_troubles(app, note)
    return app


def _add_troubles(app: Chicory, note) -> None:
    """Tasks that hold, block or kill their worker."""

    @app.task(name="hold")
    async def hold(key: str, gate: str) -> int:
        note("started", key)
        try:
            await wait_at(gate)
        except BaseException:
            note("cancelled", key)
            raise
        note("finished", key)
        return os.getpid()

    @app.task(name="hold_in_thread")
    def hold_in_thread(key: str, gate: str) -> int:
        note("started", key)
        block_at(gate)
        note("finished", key)
        return os.getpid()

    @app.task(name="block")
    async def block(key: str, seconds: float) -> int:
        note("started", key)
        threading.Event().wait(seconds)
        note("finished", key)
        return os.getpid()

    @app.task(name="hold_the_loop")
    async def hold_the_loop(key: str, gate: str) -> int:
        note("started", key)
        block_at(gate)
        note("finished", key)
        return os.getpid()

    @app.task(name="deadly")
    async def deadly(key: str) -> None:
        note("started", key)
        os.kill(os.getpid(), signal.SIGKILL)
        await anyio.sleep_forever()


def main() -> None:
    url, descriptor, backend = sys.argv[1:]
    notes = Notes(int(descriptor))
    logging.basicConfig(level=logging.INFO)
    logging.getLogger("chicory").addHandler(notes)
    worker = Worker(make_app(url, notes.note))

    async def run() -> None:
        async with anyio.create_task_group() as group:
            await group.start(worker.run)
            notes.note("ready", worker.worker_id)

    anyio.run(run, backend=backend)


if __name__ == "__main__":
    main()
