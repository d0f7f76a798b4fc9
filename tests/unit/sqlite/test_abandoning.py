"""What is left of a transport that nobody closed when its event loop ended."""

import gc
import threading
import time
from pathlib import Path

import anyio
import pytest

from chicory import Chicory
from chicory.transport import Publication


def open_files(path: Path) -> list[str]:
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            target = str(descriptor.readlink())
        except OSError:
            continue
        if target.startswith(str(path)):
            found.append(target)
    return found


def left_over(before: set[threading.Thread], path: Path) -> tuple[list[str], list[str]]:
    gc.collect()
    new = set(threading.enumerate()) - before
    deadline = time.monotonic() + 10
    for thread in new:
        thread.join(max(0, deadline - time.monotonic()))
    return [thread.name for thread in new if thread.is_alive()], open_files(path)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts open files of Linux")
def test_it_leaves_neither_threads_nor_open_files(make, path, anyio_backend):
    async def main():
        transport = make()
        await transport.open()
        await transport.publish([Publication("q", "1", b"")])
        await transport.watch(["1"], lambda *_: None)

    before = set(threading.enumerate())
    for _ in range(5):
        anyio.run(main, backend=anyio_backend)

    assert left_over(before, path) == ([], [])


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts open files of Linux")
def test_an_app_of_many_event_loops_leaves_nothing_of_those_that_ended(path, anyio_backend):
    before = set(threading.enumerate())
    app = Chicory(f"sqlite:///{path}")

    @app.task(name="nothing")
    def nothing() -> None: ...

    for _ in range(5):
        anyio.run(nothing.send, backend=anyio_backend)
    during = [thread for thread in threading.enumerate() if thread not in before]
    del app, nothing

    assert left_over(before, path) == ([], [])
    assert during
