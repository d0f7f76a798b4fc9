"""The line between a supervisor and its child: one tells the other, and notices when it ends.

The child says where its program wants health to be served, and when it is at work.

A question after the child's health comes as an open connection of its own, sent over the line. The
line is a socket pair, of which the child inherits one end. The kernel closes it when a process
dies, however it dies: a child whose supervisor was killed with SIGKILL reads the end of the line,
and stops, if it does not already.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import contextmanager, suppress

import anyio
import msgspec
from msgspec import Struct

from chicory.answers import Answer, Respond, health

VARIABLE = "CHICORY_SUPERVISOR_FD"
"""Environment variable that tells a child which descriptor its end has."""
MOST = 16
"""Connections that are taken in at once."""


class Health(Struct, frozen=True, tag="health"):
    """Where the child's settings want health to be served."""

    host: str
    port: int


class AtWork(Struct, frozen=True, tag="at work"):
    """The child has come to work; its tasks get so many seconds to finish when it is to stop."""

    shutdown_timeout: float


Said = Health | AtWork
"""What a child says: one JSON object a line."""
_said: msgspec.json.Decoder[Said] = msgspec.json.Decoder(Said)

logger = logging.getLogger("chicory.worker")


class Lifeline:
    """The child's end. Also an ``anyio.abc.TaskStatus``: ``await worker.run(task_status=...)``.

    And an ``Opening``, see ``chicory.answers``: ``answering``.

    Attributes:
        shutdown_timeout: seconds that the child's tasks get to finish; told when it is ready.
        is_stopping: says whether the child has been told to stop; asked in a thread.
    """

    def __init__(self, line: socket.socket) -> None:
        self.shutdown_timeout = 0.0
        self.is_stopping: Callable[[], bool] = lambda: False
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
        self._say(AtWork(self.shutdown_timeout))

    def serve(self, host: str, port: int) -> None:
        """Have the supervisor serve health there, where it does not yet."""
        self._say(Health(host, port))

    def _say(self, said: Said) -> None:
        with suppress(OSError):
            self._line.sendall(msgspec.json.encode(said) + b"\n")

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
        logger.info("the supervisor has ended")
        if not self.is_stopping():  # a second signal has it cancel what it drains
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


async def hear(line: socket.socket) -> AsyncGenerator[Said]:
    """What the child says, on the supervisor's end, until it has ended."""
    rest = b""
    while True:
        await anyio.wait_readable(line)
        try:
            told = line.recv(4096)
        except ConnectionError:
            return
        if not told:
            return
        *lines, rest = (rest + told).split(b"\n")
        for each in lines:
            yield _said.decode(each)
