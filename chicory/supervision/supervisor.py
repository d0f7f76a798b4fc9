"""The supervisor: keeps worker processes alive, rolls them, and ends them."""

from __future__ import annotations

import logging
import signal
from collections.abc import Sequence
from pathlib import Path

import anyio
from anyio import CancelScope, Event, create_task_group, move_on_after
from anyio.abc import TaskGroup

from chicory.errors import ConfigurationError
from chicory.supervision.census import Census
from chicory.supervision.child import Child, epitaph
from chicory.supervision.lifeline import Health
from chicory.supervision.port import Address, Port
from chicory.supervision.sources import changes
from chicory.supervision.succession import (
    HOPELESS,
    GiveUp,
    Leave,
    Replace,
    Succession,
    postponed,
    succession,
)

FAILED = 1

logger = logging.getLogger("chicory.supervisor")


class Supervisor:
    """Runs ``count`` processes of ``command`` until it is told to stop.

    SIGTERM and SIGINT drain all of them; a second one kills them. SIGHUP replaces them one by one,
    each when its successor is at work. A process that dies is replaced, with growing pauses where
    it dies again and again. A supervisor that is killed takes its processes with it: they notice,
    and drain.

    Args:
        command: what each process runs; see ``Lifeline`` for its part.
        count: how many.
        finite: they end by themselves when their work is done, and are not replaced then.
        sources: a folder; when Python files in it change, the processes are replaced.
        health: where it is answered how all of them are, as far as the command itself knows; where
            its program has it elsewhere, a process says so.
    """

    def __init__(
        self,
        command: Sequence[str],
        count: int,
        *,
        finite: bool = False,
        sources: Path | None = None,
        health: Address | None = None,
    ) -> None:
        self._command = command
        self._count = count
        self._finite = finite
        self._sources = sources
        self._children: dict[int, Child] = {}
        self._port = Port(Census(lambda: dict(self._children), self._missing), health)
        self._successors: dict[int, Child] = {}
        self._stopping = Event()
        self._roll_wanted = Event()
        self._code = 0
        self._has_worked = False
        self._group: TaskGroup

    async def run(self) -> int:
        """Work; the exit code: 0 after a clean stop, 2 if no process can ever work, else 1."""
        with self._port:
            await self._run()
        logger.info("all worker processes have ended")
        return self._code

    async def _run(self) -> None:
        async with create_task_group() as self._group:
            self._group.start_soon(self._listen)
            if self._sources is not None:
                self._group.start_soon(self._roll_on_change, self._sources)
            async with create_task_group() as places:
                # what cannot work at all is said by the first one, and not by each
                await places.start(self._keep_first)
                for place in range(1, self._count):
                    places.start_soon(self._keep, place)
                self._group.start_soon(self._roll_when_wanted)
            for fresh in list(self._successors.values()):  # who were to replace those that ended
                self._decide(fresh, await self._outlive(fresh), 0, worked=fresh.is_ready)
            self._group.cancel_scope.cancel()

    def roll(self) -> None:
        """Replace the processes one by one, each when its successor is at work."""
        self._roll_wanted.set()

    def _missing(self) -> int:
        if self._finite:  # who has done his share has left
            return 0
        return self._count - sum(child.is_alive for child in self._children.values())

    # -- one place ------------------------------------------------------------------------

    async def _keep_first(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        first = self._successors[0] = await self._start(0)
        await first.until_ready()
        task_status.started()
        await self._keep(0)

    async def _keep(self, place: int) -> None:
        failures = 0
        while not self._stopping.is_set():
            decision = await self._fill(place, failures)
            if isinstance(decision, GiveUp):
                self._code = decision.code
                self._stop()
            if not isinstance(decision, Replace):
                break
            failures = decision.failures
            with move_on_after(decision.delay):
                await self._stopping.wait()
        self._children.pop(place, None)

    async def _fill(self, place: int, failures: int) -> Succession:
        """Have a process in this place until it ends; who follows it."""
        try:
            child = self._successors.pop(place, None) or await self._start(place)
        except OSError as error:
            decision = postponed(failures)
            name, delay = f"worker process {place + 1}", decision.delay
            logger.error("%s cannot be started: %s, trying again in %g s", name, error, delay)  # noqa: TRY400  (one line, for people)
            return decision
        self._children[place] = child
        code = await self._outlive(child)
        if place in self._successors and not self._stopping.is_set():
            return Replace(0.0, failures)
        worked = await child.until_ready()
        return self._decide(child, code, failures, worked=worked)

    async def _start(self, place: int) -> Child:
        child = await Child.start(self._command, place)
        logger.info("worker process %d: pid %d", place + 1, child.pid)
        self._group.start_soon(child.listen, self._serve)
        if self._stopping.is_set():  # it was told to meanwhile
            child.stop()
        return child

    def _serve(self, health: Health) -> None:
        try:
            self._port.move((health.host, health.port))
        except ConfigurationError as error:
            logger.error("%s", error)  # noqa: TRY400  (one line, for people)
            if not self._port.is_open:  # and none of those to come will have it
                self._code = HOPELESS
                self._stop()

    async def _outlive(self, child: Child) -> int:
        try:
            return await child.wait()
        finally:
            with CancelScope(shield=True):
                await child.end()

    def _decide(self, child: Child, code: int, failures: int, *, worked: bool) -> Succession:
        name = f"worker process {child.place + 1} (pid {child.pid})"
        if self._stopping.is_set():
            if code not in {0, -signal.SIGTERM}:  # which ends who has not begun to work yet
                self._code = self._code or FAILED
                logger.error("%s %s", name, epitaph(code))
            return Leave()
        # what others work with is not wrong for good
        self._has_worked |= worked or any(other.is_ready for other in self._everybody())
        decision = succession(
            code, child.age, failures, finite=self._finite, worked=self._has_worked
        )
        then = f", replacing it in {decision.delay:g} s" if isinstance(decision, Replace) else ""
        logger.log(logging.ERROR if code else logging.INFO, "%s %s%s", name, epitaph(code), then)
        return decision

    # -- orders ---------------------------------------------------------------------------

    async def _listen(self) -> None:
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as received:
            async for number in received:
                name = signal.Signals(number).name
                if number == signal.SIGHUP:
                    logger.info("SIGHUP: replacing the worker processes one by one")
                    self.roll()
                elif not self._stopping.is_set():
                    logger.info("%s: stopping %d worker processes", name, len(self._children))
                    self._stop()
                else:
                    logger.warning("%s again: killing the worker processes", name)
                    for child in self._everybody():
                        child.kill()

    def _stop(self) -> None:
        self._stopping.set()
        for child in self._everybody():
            self._group.start_soon(child.end)

    async def _roll_when_wanted(self) -> None:
        while True:
            await self._roll_wanted.wait()
            self._roll_wanted = Event()
            for place in list(self._children):
                if self._stopping.is_set() or not await self._succeed(place):
                    break
            else:
                logger.info("all worker processes have been replaced")

    async def _roll_on_change(self, folder: Path) -> None:
        async for changed in changes(folder):
            logger.info("%s changed: replacing the worker processes", ", ".join(changed))
            self.roll()

    async def _succeed(self, place: int) -> bool:
        """Replace one process without a gap; False where its successor does not get to work."""
        try:
            fresh = self._successors[place] = await self._start(place)
        except OSError as error:
            logger.error("no new process can be started: %s: the old ones stay", error)  # noqa: TRY400  (one line, for people)
            return False
        if await fresh.until_ready():
            old = self._children.get(place)
            if old is not None and old is not fresh:
                await old.end()
            return True
        self._successors.pop(place, None)
        code = await self._outlive(fresh)
        if not self._stopping.is_set():
            logger.error("the new process %s: the old ones stay", epitaph(code))
        return False

    def _everybody(self) -> list[Child]:
        return [*self._children.values(), *self._successors.values()]
