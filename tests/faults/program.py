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
            while not os.path.exists(gate):  # noqa: ASYNC110, ASYNC240, PTH110
                await anyio.sleep(0.01)
        except BaseException:
            note("cancelled", key)
            raise
        note("finished", key)
        return os.getpid()

    @app.task(name="hold_in_thread")
    def hold_in_thread(key: str, gate: str) -> int:
        note("started", key)
        while not os.path.exists(gate):  # noqa: PTH110
            time.sleep(0.01)
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
        while not os.path.exists(gate):  # noqa: ASYNC240, PTH110
            time.sleep(0.01)  # noqa: ASYNC251  (to block is what it is for)
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
