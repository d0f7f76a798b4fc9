"""Tasks that have processes of their own in a worker: a test sees them run where it runs."""

from __future__ import annotations

import os
import threading

from chicory import Chicory
from chicory.testing import Lab, Rehearsal

app = Chicory("memory://")
seen: list[int] = []


@app.task()
async def note(number: int) -> None:
    seen.append(number)


@app.task(executor="process", max_memory=100)
def crunch(number: int) -> list[int]:
    note.send_sync(number)
    return [os.getpid(), threading.get_ident()]


@app.task(executor="process")
async def wait(number: int) -> int:
    await note.send(number)
    return os.getpid()


async def test_a_lab_runs_them_in_the_process_of_the_test(monkeypatch):
    monkeypatch.setattr(f"{__name__}.seen", [])
    with Lab(app) as lab:
        plain, coroutine = await crunch.delay(1), await wait.delay(2)
        await lab.drain()
        pid, thread = await plain.get()
        other = await coroutine.get()

    assert pid == other == os.getpid()
    assert thread != threading.get_ident()
    assert sorted(seen) == [1, 2]


async def test_a_rehearsal_does_so_as_well():
    with Lab(app) as lab:
        pid, _ = await Rehearsal(crunch).run(3)
        lab.assert_enqueued(note, 3)

    assert pid == os.getpid()
