"""The line between a supervisor and its child: one says "ready", and each notices the other's end.

A question after the child's health comes as an open connection of its own, sent over the line. The
line is a socket pair, of which the child inherits one end. The kernel closes it when a process
dies, however it dies: a child whose supervisor was killed with SIGKILL reads the end of the line,
and stops.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress

from chicory.answers import Answer, Respond, health

VARIABLE = "CHICORY_SUPERVISOR_FD"
"""Environment variable that tells a child which descriptor its end has."""


MOST = 16
"""Connections that are taken in at once."""


class Lifeline:
    """The child's end. Also an ``anyio.abc.TaskStatus``: ``await worker.run(task_status=...)``.

    And an ``Opening``, see ``chicory.answers``: ``answering``.

    Attributes:
        shutdown_timeout: seconds that the child's tasks get to finish; told when it is ready.
    """

    def __init__(self, line: socket.socket) -> None:
        self.shutdown_timeout = 0.0
        self._line = line
        self._respond: Respond = _not_at_work
        threading.Thread(target=self._watch, name="chicory lifeline", daemon=True).start()

    @classmethod
    def inherited(cls) -> Lifeline | None:
        """This process's end, if it has a supervisor; its own children do not inherit it."""
        descriptor = os.environ.pop(VARIABLE, None)
        if descriptor is None:
            return None
        os.set_inheritable(int(descriptor), False)  # noqa: FBT003  (its signature)
        return cls(socket.socket(fileno=int(descriptor)))

    def started(self, value: object = None) -> None:  # noqa: ARG002  (the protocol's name)
        """Tell the supervisor that this process is at work."""
        with suppress(OSError):
            self._line.send(b"%r" % self.shutdown_timeout)

    @contextmanager
    def answering(self, respond: Respond) -> Generator[None]:
        """Have ``respond`` asked what the supervisor wants to know."""
        self._respond = respond
        try:
            yield
        finally:
            self._respond = _not_at_work

    def _watch(self) -> None:
        with suppress(OSError):
            while self._hear():
                continue
        os.kill(os.getpid(), signal.SIGTERM)

    def _hear(self) -> bool:
        """Take in what the supervisor says; False where it has ended."""
        said, descriptors, _, _ = socket.recv_fds(self._line, 64, MOST)
        for descriptor in descriptors:
            line = socket.socket(fileno=descriptor)
            threading.Thread(target=self._answer, args=(line,), daemon=True).start()
        return bool(said)

    def _answer(self, line: socket.socket) -> None:
        from chicory.endpoint import answer_on  # noqa: PLC0415  (HTTP is much to load)

        answer_on(line, self._respond)


def _not_at_work(target: str) -> Answer:
    starts = ["the worker is not at work yet, or not any more"]
    return health([] if target.startswith("/live") else starts)


def pair() -> tuple[socket.socket, socket.socket]:
    """The supervisor's end, not blocking, and the child's."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)  # noqa: FBT003  (its signature)
    return ours, theirs


def hear(line: socket.socket) -> float | None:
    """Read from the supervisor's readable end: the child's shutdown timeout, once it is ready.

    ``None`` if it has ended.
    """
    try:
        told = line.recv(64)
    except ConnectionError:
        return None
    return float(told) if told else None
