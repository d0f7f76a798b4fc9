"""What a process says on its line, while handlers of signals say something as well."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from chicory.processes import wire
from chicory.processes.program import CHUNK, Program
from chicory.processes.wire import Inbox, Misfit, Ready

PATIENCE = 30


class Line:
    """Keeps what is sent, and lets ``meanwhile`` run in the midst of the first."""

    def __init__(self, meanwhile: Callable[[], None] | None = None) -> None:
        self.sent: list[wire.Answer] = []
        self._meanwhile = meanwhile
        self._is_busy = False

    def sendall(self, frame: bytes) -> None:
        assert not self._is_busy
        meanwhile, self._meanwhile = self._meanwhile, None
        if meanwhile is not None:
            self._is_busy = True
            try:
                meanwhile()
            finally:
                self._is_busy = False
        self.sent.append(wire.answer(frame[4:]))


def in_time(function: Callable[[], None]) -> None:
    """Run it in a thread, which a deadlock would keep."""
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive()


FIRST, SECOND = Ready(), Misfit("of", "a handler")


def test_what_a_handler_says_in_the_midst_of_a_word_comes_after_it():
    line = Line(lambda: program._say(SECOND))
    program = Program(line)

    in_time(lambda: program._say(FIRST))

    assert line.sent == [FIRST, SECOND]


def interrupted(number: int) -> Line | None:
    """What is said where a handler speaks before that line of ``_say``; ``None``: it has fewer."""
    line, left = Line(), number
    program = Program(line)

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal left
        if frame.f_code is not Program._say.__code__:
            return None
        if event == "line":
            left -= 1
            if left == 0:
                program._say(SECOND)
        return trace

    def speak() -> None:
        sys.settrace(trace)
        program._say(FIRST)
        sys.settrace(None)

    in_time(speak)
    return line if left <= 0 else None


def test_wherever_a_handler_interrupts_both_are_heard_once():
    number = 1
    while line := interrupted(number):
        assert sorted(line.sent, key=str) == sorted([FIRST, SECOND], key=str)
        number += 1

    assert number > 5


class Cut:
    """Sends half of a frame: then the handler of a signal raises."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line

    def sendall(self, frame: bytes) -> None:
        self._line.sendall(frame[: len(frame) // 2])
        raise InterruptedError

    def shutdown(self, how: int) -> None:
        self._line.shutdown(how)


def test_after_a_word_that_was_cut_short_by_a_handler_the_process_says_no_more():
    theirs, ours = socket.socketpair()
    with theirs, ours:
        ours.setblocking(False)  # noqa: FBT003  (its signature)
        program = Program(Cut(theirs))
        with pytest.raises(InterruptedError):
            program._say(FIRST)

        assert Inbox().feed(ours.recv(CHUNK)) == []
        assert ours.recv(CHUNK) == b""


def test_a_process_that_dies_of_a_handler_between_two_calls_says_so_before_it_ends(
    monkeypatch, capsys
):
    def interrupted() -> None:
        raise InterruptedError("left by a task")

    theirs, ours = socket.socketpair()
    with theirs, ours:
        ours.setblocking(False)  # noqa: FBT003  (its signature)
        program = Program(theirs)
        monkeypatch.setattr(program, "_next", interrupted)

        with pytest.raises(SystemExit):
            program.run()

        assert ours.recv(CHUNK) == b""
    assert "InterruptedError: left by a task" in capsys.readouterr().err
