"""The ledger keeps what was noted, whatever becomes of who noted it."""

from __future__ import annotations

import os

from hypothesis import given
from hypothesis import strategies as st

from chicory.testing.faults.figures import measure
from chicory.testing.faults.ledger import Entry, Event, Note, Pen, Reader


def test_what_was_noted_is_read_in_order(tmp_path):
    with Pen(tmp_path / "ledger") as pen, Reader(tmp_path / "ledger") as reader:
        pen.note(Event.STARTED, "key", 2, "detail")
        first = reader.read()
        pen.notes([Note(Event.EFFECT, "a"), Note(Event.EFFECT, "b")])
        rest = reader.read()

    (one,) = first
    assert one._replace(at=0) == Entry(Event.STARTED, 0, os.getpid(), "key", 2, "detail")
    assert [(entry.event, entry.key) for entry in rest] == [
        (Event.EFFECT, "a"),
        (Event.EFFECT, "b"),
    ]


@given(torn=st.integers(1, 30))
def test_a_line_torn_by_a_death_takes_no_other_one_with_it(tmp_path_factory, torn):
    path = tmp_path_factory.mktemp("torn") / "ledger"
    with Pen(path) as pen:
        pen.note(Event.STARTED, "whole")
        pen.note(Event.STARTED, "torn")
        os.truncate(path, path.stat().st_size - torn)
        pen.note(Event.STARTED, "after")
    with Reader(path) as reader:
        keys = [entry.key for entry in reader.read()]

    assert keys in (["whole", "after"], ["whole", "torn", "after"])


def test_the_figures_of_a_rescue_and_of_a_recovery():
    entries = [
        Entry(Event.FETCHED, 1, 11, "held"),
        Entry(Event.FETCHED, 1, 11, "settled"),
        Entry(Event.SETTLED, 2, 11, "settled", 0, "done"),
        Entry(Event.KILLED, 3, 11),
        Entry(Event.FETCHED, 9, 12, "held"),
        Entry(Event.KILLED, 10, 12),
        Entry(Event.STARTED, 21, 13, "held"),
        Entry(Event.AWAY, 30),
        Entry(Event.BACK, 32),
        Entry(Event.FAULT, 33, detail="broker killed"),
        Entry(Event.STARTED, 34.5, 13, "other"),
    ]

    found = measure(entries, max_crashes=3)

    assert sorted(one.seconds for one in found.rescues) == [6, 11]
    assert found.rescued_within(0.5) == 11
    assert found.recoveries == [2.5]
    assert (found.deaths, found.faults) == (2, {"broker killed": 1})


def test_what_must_run_alone_is_a_rescue_of_another_kind():
    entries = [
        Entry(Event.FETCHED, 1, 11, "held", 0, "2"),
        Entry(Event.KILLED, 2, 11),
        Entry(Event.FETCHED, 10, 12, "held", 0, "3"),
        Entry(Event.STARTED, 15, 12, "held"),
    ]

    found = measure(entries, max_crashes=3)

    assert (found.calm, found.suspects) == ([], [13])


def test_a_rescue_from_two_of_whom_one_could_not_note_what_he_had_is_not_of_one():
    entries = [
        Entry(Event.FETCHED, 1, 11, "held", 0, "1"),
        Entry(Event.KILLED, 2, 11),
        Entry(Event.FETCHED, 18, 12, "held", 0, "3"),
        Entry(Event.STARTED, 19, 12, "held"),
    ]

    found = measure(entries, max_crashes=3)

    assert [one.seconds for one in found.rescues] == [17]
    assert (found.calm, found.suspects) == ([], [])


def test_a_rescue_for_which_no_worker_was_there_is_not_a_calm_one():
    entries = [
        Entry(Event.READY, 0, 11),
        Entry(Event.FETCHED, 1, 11, "held", 0, "1"),
        Entry(Event.KILLED, 2, 11),
        Entry(Event.READY, 17, 12),
        Entry(Event.FETCHED, 18, 12, "held", 0, "2"),
        Entry(Event.STARTED, 19, 12, "held"),
    ]
    with_another = [Entry(Event.READY, 0, 13), *entries, Entry(Event.SETTLED, 20, 13, "more")]

    assert measure(entries, max_crashes=3).calm == []
    assert measure(with_another, max_crashes=3).calm == [17]


def test_a_broker_that_goes_away_again_has_come_back_when_it_does_so_for_the_last_time():
    entries = [
        Entry(Event.AWAY, 1),
        Entry(Event.BACK, 2),
        Entry(Event.AWAY, 3),
        Entry(Event.BACK, 13),
        Entry(Event.STARTED, 14, 11, "next"),
    ]

    assert measure(entries, max_crashes=3).recoveries == [1]
