"""One process that runs tasks, as its worker sees it: from its start to its burial."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress

import anyio
from anyio import Event, create_task_group, to_thread
from msgspec import MsgspecError

from chicory.errors import ProcessDiedError
from chicory.logs import unfailing
from chicory.loop import Turn, listen, turns
from chicory.memory import resident_of
from chicory.processes import wire
from chicory.processes.forwarding import deliver
from chicory.processes.wire import Answer, Inbox, Line, Order, Outcome, Ready, Report
from chicory.progress import Progress

CHUNK = 1 << 16
BURIAL = 0.01
"""Seconds between looks at whether a process has ended, where the system does not tell."""

GRACE = 0.1
"""Seconds in which the last words of one that has ended are heard."""

logger = unfailing("chicory.worker")

Reports = Callable[[Progress], None]


class Child:
    """A process in a session of its own, so that no control-C of a terminal reaches it.

    Attributes:
        pid: its process id.
        is_alive: whether it may be given a call.
        ready: set once it waits for calls, or has ended before.
        gone: set once it has ended.
        idle_memory: bytes that it had in use before its first call.

    Raises ``OSError`` where there are no descriptors left for it.
    """

    def __init__(self) -> None:
        self.pid = 0
        self.is_alive = False
        self.ready = Event()
        self.gone = Event()
        self.idle_memory = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._end, self._life = os.pipe()
        try:
            self._line, self._theirs = socket.socketpair()
        except BaseException:
            os.close(self._end)
            os.close(self._life)
            raise
        self._line.setblocking(False)  # noqa: FBT003  (its signature)
        self._inbox = Inbox()
        self._is_ready = self._is_buried = False
        self._why = ""
        self._outcome: Outcome | None = None
        self._turns: Callable[[], Turn] | None = None
        self._answered: Turn | None = None
        self._reports: Reports | None = None
        _unburied.add(self)

    def start(self) -> None:
        """Start it; blocks for some milliseconds. Raises what ``Popen`` does."""
        theirs = (self._theirs.fileno(), self._end)
        try:
            self._process = subprocess.Popen(  # noqa: S603  (this same interpreter)
                [sys.executable, "-m", "chicory.processes", *map(str, theirs)],
                stdin=subprocess.DEVNULL,
                pass_fds=theirs,
                start_new_session=True,
            )
        finally:
            self._close_theirs()
        self.pid = self._process.pid
        self.is_alive = True

    # -- its life -------------------------------------------------------------------------

    async def tend(self, first: bytes) -> None:
        """Hear what it says until it has ended, and bury it; to be run once, beside the calls.

        ``first`` is the frame that it hears first.
        """
        async with create_task_group() as group:
            group.start_soon(self._listen)
            group.start_soon(self._send, first)
            await self._until_ended()
            group.cancel_scope.cancel()
        self._hear_out()
        self.bury()

    @property
    def is_ready(self) -> bool:
        """Whether it has said that it waits for calls."""
        return self._is_ready

    @property
    def memory(self) -> int:
        """Bytes that it has in use; 0 where that cannot be told."""
        return resident_of(self.pid) or 0

    def is_there(self) -> bool:
        """Whether it has not ended; sooner than by ``is_alive``, which is told of it."""
        try:
            return bool(self._line.recv(1, socket.MSG_PEEK))
        except BlockingIOError:
            return True
        except OSError:
            return False

    def kill(self, why: str = "") -> None:
        """End it at once, and all that it has started; ``why`` is told as the reason."""
        self.is_alive = False
        if self.pid and not self._is_buried:
            self._why = self._why or why
            with suppress(ProcessLookupError, PermissionError):  # a zombie, on some systems
                os.killpg(self.pid, signal.SIGKILL)

    def hang_up(self) -> None:
        """Have it end by itself as soon as it waits for a call."""
        self.is_alive = False
        if not self._is_buried:
            with suppress(OSError):
                self._line.shutdown(socket.SHUT_WR)

    def bury(self, grace: float = 0.0) -> None:
        """See to it that it has ended, and leaves nothing; blocks for ``grace`` and a moment."""
        if self._is_buried:
            return
        if self._process is not None:
            if grace:
                with suppress(subprocess.TimeoutExpired):
                    self._process.wait(grace)
            self.kill()  # what it has started must not outlive it
            self._process.wait()
        self.let_go()
        self.ready.set()
        self.gone.set()
        if self._answered is not None:
            self._answered.come()

    def let_go(self) -> None:
        """Close all that ties it to this process, which has no more to do with it."""
        _unburied.discard(self)
        self._is_buried = True
        self._close_theirs()
        self._line.close()
        os.close(self._life)

    def _close_theirs(self) -> None:
        """Close the ends that it has by now, or never will have."""
        if self._theirs.fileno() != -1:
            self._theirs.close()
            os.close(self._end)

    async def _until_ended(self) -> None:
        assert self._process is not None
        try:
            descriptor = os.pidfd_open(self.pid)
        except (AttributeError, OSError):  # not Linux, or an old one
            while self._process.poll() is None:
                await to_thread.run_sync(time.sleep, BURIAL, abandon_on_cancel=True)
            return
        try:
            await anyio.wait_readable(descriptor)
        finally:
            os.close(descriptor)

    # -- what is said ---------------------------------------------------------------------

    async def perform(self, call: Order, reports: Reports | None) -> Outcome:
        """Have it run a call. If this is cancelled the process must be killed.

        Raises ``ProcessDiedError`` that says how the process ended.
        """
        if self._is_buried:
            raise ProcessDiedError(self.epitaph())
        self._outcome, self._reports = None, reports
        if self._turns is None:
            self._turns = turns()
        self._answered = answered = self._turns()
        await self._send(wire.frame(call))
        await answered.wait()
        self._answered = self._reports = None
        if self._outcome is None:
            raise ProcessDiedError(self.epitaph())
        return self._outcome

    def epitaph(self) -> str:
        """How it ended, in words."""
        if self._why:
            return f"its process {self._why}"
        code = self._process and self._process.returncode
        if code is None or code >= 0:
            return f"its process exited with status {code}"
        if code == -signal.SIGKILL:
            return "its process was ended by SIGKILL: by the system, if memory ran out"
        try:
            return f"its process was ended by {signal.Signals(-code).name}"
        except ValueError:
            return f"its process was ended by signal {-code}"

    async def _send(self, frame: bytes) -> None:
        rest = memoryview(frame)
        while rest:
            try:
                rest = rest[self._line.send(rest) :]
            except BlockingIOError:
                await anyio.wait_writable(self._line)
            except OSError:  # it has ended; or a signal's handler raised, after half a frame
                self.kill()
                return

    async def _listen(self) -> None:
        await listen(self._line, self._take_in)
        self.kill()  # it has ended; or a task has closed what is not its own

    def _hear_out(self) -> None:
        """Hear what it had said when it ended."""
        ends = time.monotonic() + GRACE  # what it has started may talk on
        while self._is_heard() and self._take_in() and time.monotonic() < ends:
            pass

    def _is_heard(self) -> bool:
        """Whether there is something to hear, if only the end."""
        try:
            self._line.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            pass
        return True

    def _take_in(self) -> bool:
        """Hear some of what it has said by now; False where it will say no more."""
        try:
            data = self._line.recv(CHUNK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        if not data:
            return False
        try:
            for frame in self._inbox.feed(data):
                self._hear(wire.answer(frame))
        except MsgspecError:
            self.kill("said what its worker does not understand: did its task write to its line?")
            return False
        return True

    def _hear(self, said: Answer) -> None:
        match said:
            case Ready():
                self._is_ready = True
                self.idle_memory = self.memory
                self.ready.set()
            case Line():
                self._deliver(said)
            case Report(progress=progress):
                if self._reports is not None:
                    self._reports(progress)
            case _:
                self._outcome = said
                if self._answered is not None:
                    self._answered.come()

    def _deliver(self, line: Line) -> None:
        try:
            deliver(line)
        except Exception:  # of a filter or a handler, or of what a record must not have
            logger.exception("a log line of process %d is lost", self.pid)


def _leave_to_the_parent() -> None:
    """Have processes end with their worker, although a fork of that goes on."""
    for child in list(_unburied):
        child.let_go()


_unburied: set[Child] = set()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_the_parent)
