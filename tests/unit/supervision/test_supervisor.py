"""A supervisor and its processes: real ones, that tell the test what they hear."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import anyio
import pytest
from anyio import create_task_group
from unit.log import Log, logged

from chicory.supervision import Supervisor
from chicory.supervision.child import Child

PROGRAM = """#!{python}
import os, signal, sys
from chicory.supervision import Lifeline

HEARD = {{signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2}}
told = os.open(sys.argv[1], os.O_WRONLY)

def say(word):
    os.write(told, f"{{word}} {{os.getpid()}}\\n".encode())

signal.alarm(90)
signal.pthread_sigmask(signal.SIG_BLOCK, HEARD)
Lifeline.inherited().started()
say("works")
while (number := signal.sigwait(HEARD)) == signal.SIGTERM:
    say("SIGTERM")
os._exit(0 if number == signal.SIGUSR1 else 3)
"""
DRAINED, FAILED = signal.SIGUSR1, signal.SIGUSR2
"""What has a process end."""


class Team:
    """A supervisor, and what its processes say."""

    def __init__(self, folder: Path) -> None:
        self.program, said = folder / "program", folder / "said"
        self.program.write_text(PROGRAM.format(python=sys.executable))
        self.program.chmod(0o700)
        os.mkfifo(said)
        self.supervisor = Supervisor([str(self.program), str(said)], 2)
        self.code: int | None = None
        self.said: list[str] = []
        self._descriptor = os.open(said, os.O_RDWR | os.O_NONBLOCK)

    async def run(self) -> None:
        self.code = await self.supervisor.run()

    async def hear(self, word: str) -> int:
        """The process that says this, once for each time that one does."""
        while True:
            for line in self.said:
                said, pid = line.split()
                if said == word:
                    self.said.remove(line)
                    return int(pid)
            await anyio.wait_readable(self._descriptor)
            self._read()

    def rest(self) -> list[str]:
        """What else they have said."""
        self._read()
        return self.said

    def _read(self) -> None:
        with suppress(BlockingIOError):
            self.said += os.read(self._descriptor, 4096).decode().splitlines()

    def close(self) -> None:
        os.close(self._descriptor)


@pytest.fixture
def log() -> Iterator[Log]:
    with logged(logging.INFO) as log:
        yield log


@pytest.fixture
def team(tmp_path, monkeypatch) -> Iterator[Team]:
    monkeypatch.setattr("chicory.supervision.succession.SHORTEST", 0.01)
    team = Team(tmp_path)
    yield team
    team.close()


async def test_one_that_cannot_be_started_is_tried_again_and_the_others_go_on(team, log):
    with anyio.fail_after(60):
        async with create_task_group() as group:
            group.start_soon(team.run)
            pids = {await team.hear("works"), await team.hear("works")}
            hidden = team.program.rename(team.program.with_name("hidden"))
            dead = pids.pop()
            os.kill(dead, signal.SIGKILL)
            await log.heard("cannot be started", times=2)
            hidden.rename(team.program)
            pids.add(await team.hear("works"))
            assert team.rest() == []
            os.kill(os.getpid(), signal.SIGTERM)
            told = {await team.hear("SIGTERM"), await team.hear("SIGTERM")}
            for pid in told:
                os.kill(pid, DRAINED)

    assert told == pids
    assert team.code == 0


async def test_one_that_does_not_end_is_killed_and_it_is_said_why(team, log, monkeypatch):
    monkeypatch.setattr("chicory.supervision.child.GRACE", 0.01)
    with anyio.fail_after(60):
        async with create_task_group() as group:
            group.start_soon(team.run)
            pids = {await team.hear("works"), await team.hear("works")}
            os.kill(os.getpid(), signal.SIGTERM)
            for pid in pids:
                await log.heard(f"(pid {pid}) does not end 0.01 s after its shutdown timeout")

    assert team.code == 1


async def test_one_that_cannot_work_beside_others_that_do_is_tried_again_and_ends_nobody(team, log):
    with anyio.fail_after(60):
        async with create_task_group() as group:
            group.start_soon(team.run)
            pids = {await team.hear("works"), await team.hear("works")}
            right = team.program.rename(team.program.with_name("right"))
            team.program.write_text("#!/bin/sh\nexit 2\n")
            team.program.chmod(0o700)
            dead = pids.pop()
            os.kill(dead, signal.SIGKILL)
            await log.heard("exited with code 2", times=2)
            right.rename(team.program)
            pids.add(await team.hear("works"))
            assert team.rest() == []
            os.kill(os.getpid(), signal.SIGTERM)
            told = {await team.hear("SIGTERM"), await team.hear("SIGTERM")}
            for pid in told:
                os.kill(pid, DRAINED)

    assert told == pids
    assert team.code == 0


async def test_the_old_ones_stay_where_no_new_one_can_be_started(team, log):
    with anyio.fail_after(60):
        async with create_task_group() as group:
            group.start_soon(team.run)
            pids = {await team.hear("works"), await team.hear("works")}
            hidden = team.program.rename(team.program.with_name("hidden"))
            os.kill(os.getpid(), signal.SIGHUP)
            await log.heard("the old ones stay")
            assert team.rest() == []
            hidden.rename(team.program)
            os.kill(os.getpid(), signal.SIGHUP)
            for _ in range(2):
                await team.hear("works")
                pids.remove(old := await team.hear("SIGTERM"))
                os.kill(old, DRAINED)
            await log.heard("all worker processes have been replaced")
            os.kill(os.getpid(), signal.SIGTERM)
            for _ in range(2):
                os.kill(await team.hear("SIGTERM"), DRAINED)

    assert team.code == 0


async def test_where_there_is_no_thread_left_to_wait_for_it_it_cannot_be_started(monkeypatch):
    async def open_process(*_, **__):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("anyio.open_process", open_process)

    with pytest.raises(BlockingIOError, match="can't start new thread"):
        await Child.start(["true"], 0)


async def test_who_is_told_to_stop_while_being_replaced_is_told_once_and_all_are_waited_for(
    team, log
):
    with anyio.fail_after(60):
        async with create_task_group() as group:
            group.start_soon(team.run)
            pids = {await team.hear("works"), await team.hear("works")}
            os.kill(os.getpid(), signal.SIGHUP)
            fresh, old = await team.hear("works"), await team.hear("SIGTERM")
            os.kill(os.getpid(), signal.SIGTERM)
            others = {await team.hear("SIGTERM"), await team.hear("SIGTERM")}
            for pid in pids:
                os.kill(pid, DRAINED)
            os.kill(fresh, FAILED)

    assert others == (pids | {fresh}) - {old}
    assert team.rest() == []
    assert log.count("exited with code 3") == 1
    assert team.code == 1


async def test_a_second_signal_kills_also_who_is_being_replaced(team, log):
    with anyio.fail_after(60):
        async with create_task_group() as group:
            group.start_soon(team.run)
            for word in ("works", "works"):
                await team.hear(word)
            os.kill(os.getpid(), signal.SIGHUP)
            await team.hear("SIGTERM")
            os.kill(os.getpid(), signal.SIGTERM)
            for _ in range(2):
                await team.hear("SIGTERM")
            os.kill(os.getpid(), signal.SIGINT)

    assert log.count("was killed by SIGKILL") == 3
    assert team.code == 1
