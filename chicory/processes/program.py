"""What a process that runs tasks does: it takes one call after the other, and answers."""

from __future__ import annotations

import asyncio
import faulthandler
import io
import os
import signal
import socket
import sys
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from chicory import rules
from chicory.codec import sendable
from chicory.context import TaskContext, running
from chicory.errors import ConfigurationError, ValidationError
from chicory.logs import current
from chicory.outcome import DeathReason, too_large
from chicory.processes import wire
from chicory.processes.forwarding import Forwarder
from chicory.processes.lifeline import die_with
from chicory.processes.place import find
from chicory.processes.telling import tell
from chicory.processes.wire import (
    Answer,
    Call,
    Inbox,
    Misfit,
    Order,
    Outcome,
    Prepare,
    Ready,
    Report,
    Value,
)
from chicory.progress import Progress
from chicory.task import Task

CHUNK = 1 << 16
HANDLERS = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
"""What signals do to a fork, which do nothing to the process itself."""
EXPENDABLE = "500"
"""How readily the kernel ends this process, and not its worker, where memory runs out."""


def main() -> None:
    """Serve the worker at the other end of the line until it hangs up."""
    line = socket.socket(fileno=_own(int(sys.argv[1])))
    die_with(_own(int(sys.argv[2])))
    _settle_in()
    program = Program(line)
    os.register_at_fork(after_in_child=program.fall_silent)
    os.register_at_fork(after_in_child=_heed)
    program.run()


def _own(descriptor: int) -> int:
    """Keep a descriptor from the programs that tasks start."""
    os.set_inheritable(descriptor, False)  # noqa: FBT003  (its signature)
    return descriptor


def _settle_in() -> None:
    for number in HANDLERS:
        # the worker says when to end; what is ignored would be so in the programs of tasks, too
        signal.signal(number, _ignore)
    with suppress(RuntimeError):  # standard error is closed
        faulthandler.enable()
    out: Any = sys.stdout
    if isinstance(out, io.TextIOWrapper):  # what is printed must not die with it
        out.reconfigure(line_buffering=True)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(EXPENDABLE, encoding="ascii")


def _ignore(number: int, frame: object) -> None:
    pass


def _heed() -> None:
    """Have a fork end of signals: who has started it may end it so."""
    for number, handler in HANDLERS.items():
        if signal.getsignal(number) is _ignore:
            signal.signal(number, handler)


class Program:
    """Runs calls in the main thread; coroutines on a loop that is the same for all of them."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._lock = threading.RLock()
        self._unsaid: deque[bytes] = deque()
        self._is_speaking = False
        self._forwarder = Forwarder(self._say)
        self._inbox = Inbox()
        self._orders: list[bytes] = []
        self._tasks: dict[str, Task[..., Any]] = {}
        self._runner: asyncio.Runner | None = None
        self._pid = os.getpid()
        self._call: Call | None = None

    def run(self) -> None:
        """Until the worker hangs up."""
        try:
            with suppress(ConnectionError, EOFError):
                while True:
                    self._obey(self._next())
        except Exception as error:  # noqa: BLE001  (of a signal's handler that a task has left)
            sys.excepthook(type(error), error, error.__traceback__)
            self._hang_up()  # now: until the interpreter has ended it would be given a call
            raise SystemExit(1) from None
        if self._runner is not None:
            self._runner.close()

    def fall_silent(self) -> None:
        """Say nothing any more: in a fork, whose words would get in between those of this one."""
        self._line.close()
        self._lock = threading.RLock()  # a thread that is not in the fork may have had the other
        self._call = None
        self._forwarder.step_aside()

    def _next(self) -> Order:
        while not self._orders:
            data = self._line.recv(CHUNK)
            if not data:
                raise EOFError
            self._orders = self._inbox.feed(data)
        return wire.order(self._orders.pop(0))

    def _say(self, answer: Answer) -> None:
        told = wire.frame(answer)
        with self._lock:  # threads of the task may log, and report
            self._unsaid.append(told)
            while self._unsaid and not self._is_speaking:  # else a signal's handler is here
                try:
                    self._is_speaking = True
                    while self._unsaid:
                        self._line.sendall(self._unsaid.popleft())
                except BaseException:  # of a signal's handler, if not of the line itself
                    self._hang_up()
                    raise
                finally:
                    self._is_speaking = False

    def _hang_up(self) -> None:
        """After half a word no other one would be understood; the worker replaces this process."""
        with suppress(OSError):
            self._line.shutdown(socket.SHUT_RDWR)

    def _obey(self, order: Order) -> None:
        match order:
            case Prepare():
                self._prepare(order)
                self._say(Ready())
            case Call():
                self._call = order
                outcome = copy_context().run(self._answer, order)
                if os.getpid() != self._pid:
                    _end_fork(outcome)
                with self._lock:
                    self._call = None
                self._say(outcome)

    def _prepare(self, order: Prepare) -> None:
        sys.path[:] = map(os.fsdecode, order.path)
        for name in order.modules:
            with suppress(Exception, SystemExit):  # told of when it is needed
                import_module(name)
        self._forwarder.set_up(order.levels)

    # -- one call -------------------------------------------------------------------------

    def _answer(self, call: Call) -> Outcome:
        current.set(call.labels)
        policy = None
        try:
            task = self._task(call)
            policy = task.settings.retry_policy
            args, kwargs = task.signature.decode(call.args, call.kwargs)
        except (ValidationError, ConfigurationError) as error:
            return Misfit(DeathReason.INVALID_ARGUMENTS, sendable(str(error)))
        except BaseException as error:  # noqa: BLE001  (the user's module)
            return tell(error, policy)
        told = _once(partial(self._context, call))
        running.set(told)
        try:
            if task.signature.wants_context:
                args, kwargs = task.signature.inject(told(), args, kwargs)
            value = self._run(task, partial(task.function, *args, **kwargs))
        except BaseException as error:  # noqa: BLE001  (the user's code)
            return tell(error, policy)
        try:
            packed = task.signature.encode_result(value, check=call.check)
        except ValidationError as error:
            return Misfit(DeathReason.UNUSABLE_RESULT, sendable(str(error)))
        size = len(memoryview(packed))
        if size > call.max_size:
            return Misfit(DeathReason.UNUSABLE_RESULT, too_large(call.name, size, call.max_size))
        return Value(bytes(packed))

    def _run(self, task: Task[..., Any], function: Callable[[], Any]) -> Any:
        if not task.is_async:
            return function()
        if self._runner is None:
            self._runner = asyncio.Runner()
        return self._runner.run(function(), context=copy_context())

    def _task(self, call: Call) -> Task[..., Any]:
        task = self._tasks.get(call.name)
        if task is None:
            task = find(import_module(call.module), call.qualname, call.name)
            if task is None:
                raise RuntimeError(
                    f"{call.name}: its process does not find it in {call.module}: "
                    "was the code changed under the worker?"
                )
            self._tasks[call.name] = task
        return task

    def _context(self, call: Call) -> TaskContext:
        return TaskContext(
            call.task_id,
            call.name,
            call.retries,
            rules.read(call.rules),
            call.queue,
            call.worker_id,
            call.headers,
            enqueued_at=call.enqueued_at,
            started_at=call.started_at,
            limit=call.limit,
            reports=partial(self._report, call) if call.reports else None,
        )

    def _report(self, call: Call, progress: Progress) -> None:
        with self._lock:
            if self._call is call:  # and not a thread of one that is over, or a fork
                self._say(Report(progress))


def _end_fork(outcome: Outcome) -> None:
    """A task has forked, and both have come to its end: one answers and takes the next call."""
    with suppress(Exception):
        sys.stdout.flush()
    os._exit(0 if isinstance(outcome, Value) else 1)


def _once(make: Callable[[], TaskContext]) -> Callable[[], TaskContext]:
    """The same context each time, made when it is first asked for."""
    made: list[TaskContext] = []

    def told() -> TaskContext:
        if not made:
            made.append(make())
        return made[0]

    return told
