"""The queue of writers."""

from __future__ import annotations

import os
import threading
from contextlib import closing

import pytest

from chicory_sqlite import turn
from chicory_sqlite.turn import FileTurn

pytestmark = pytest.mark.skipif(turn.fcntl is None, reason="needs flock")


def test_a_turn_is_passed_on(monkeypatch, path):
    asked = threading.Event()
    monkeypatch.setattr(turn, "_PATIENCE", 60)
    with closing(turn.turn(path)) as first, closing(turn.turn(path)) as second:
        first.take()
        ask = second._ask
        second._ask = lambda: (ask(), asked.set())
        waiter = threading.Thread(target=second.take)
        waiter.start()
        asked.wait()
        assert not second._held

        first.give()
        waiter.join(20)

        assert second._held


def test_who_waits_too_long_goes_on_and_keeps_no_turn_later(monkeypatch, path):
    monkeypatch.setattr(turn, "_PATIENCE", 0.01)
    with closing(turn.turn(path)) as first, closing(turn.turn(path)) as second:
        first.take()
        second.take()
        assert not second._held

        first.give()
        with second._changed:
            second._changed.wait_for(lambda: not second._pending)
        first.take()

        assert first._held
        assert not second._held


def test_closing_leaves_no_thread(monkeypatch, path):
    monkeypatch.setattr(turn, "_PATIENCE", 0.01)
    before = set(threading.enumerate())
    first, second = turn.turn(path), turn.turn(path)
    first.take()
    second.take()

    second.close()
    first.close()
    for thread in set(threading.enumerate()) - before:
        thread.join(10)

    assert set(threading.enumerate()) == before
    for each in (first, second):
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(each._descriptor)


def test_where_the_file_cannot_be_made_there_is_no_queue(tmp_path):
    free = turn.turn(tmp_path / "absent" / "queue.db")

    free.take()
    free.give()
    free.close()

    assert not isinstance(free, FileTurn)


def test_who_finds_no_thread_to_wait_in_goes_on_and_waits_again_later(monkeypatch, path):
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(turn, "_PATIENCE", 60)
    with closing(turn.turn(path)) as first, closing(turn.turn(path)) as second:
        first.take()
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            second.take()
        assert not second._held

        waiter = threading.Thread(target=second.take)
        waiter.start()
        first.give()
        waiter.join(20)

        assert second._held
