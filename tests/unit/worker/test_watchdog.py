"""The watchdog by itself; what it ends is not this process."""

import threading
from queue import SimpleQueue

import pytest

from chicory.worker import watchdog
from chicory.worker.watchdog import FAILED, Watchdog

PATIENCE = 60


class Bites:
    def __init__(self) -> None:
        self._codes: SimpleQueue[int] = SimpleQueue()
        self.watchdog = Watchdog(self._codes.put)

    def next(self) -> int:
        return self._codes.get(timeout=PATIENCE)

    def none(self) -> bool:
        return self._codes.empty()


@pytest.fixture
def bites() -> Bites:
    return Bites()


def test_that_an_end_is_expected_is_known_at_once(bites):
    before = bites.watchdog.is_expecting()
    bites.watchdog.expect(0, lambda: None)

    assert (before, bites.watchdog.is_expecting()) == (False, True)
    assert bites.next() == FAILED


def test_the_process_is_ended_after_the_last_words(bites, log):
    said = []

    bites.watchdog.expect(0, lambda: said.append(bites.none()))

    assert bites.next() == FAILED
    assert said == [True]
    assert log.count("told to end, and has not ended") == 1


def test_the_shortest_time_told_counts(bites):
    for seconds in (float("inf"), 1000, 0, 1000):
        bites.watchdog.expect(seconds, lambda: None)

    assert bites.next() == FAILED


def test_last_words_that_never_end_are_not_waited_for(bites, monkeypatch):
    monkeypatch.setattr(watchdog, "LAST_WORDS", 0.01)
    gate = threading.Event()

    bites.watchdog.expect(0, gate.wait)
    code = bites.next()
    gate.set()

    assert code == FAILED


def test_last_words_that_fail_do_not_keep_it_from_ending_the_process(bites, log):
    bites.watchdog.expect(0, lambda: 1 / 0)

    assert bites.next() == FAILED
    assert log.count("what it holds could not be given back") == 1
