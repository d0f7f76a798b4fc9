from __future__ import annotations

from benchmarks.peers.work import Tally


def test_a_tally_notes_the_first_and_the_last():
    tally = Tally()
    tally.expect(3)
    tally.note()
    begin = tally.begin
    assert begin[0]
    tally.note()
    assert not tally.end[0]
    tally.note()
    assert tally.end >= begin == tally.begin


def test_a_tally_that_was_started_keeps_its_begin():
    tally = Tally()
    tally.expect(1)
    tally.start()
    begin = tally.begin
    tally.start()
    tally.note()
    assert tally.begin == begin
    assert tally.end[0]


def test_a_tally_forgets_when_it_is_told_what_to_expect():
    tally = Tally()
    tally.expect(1)
    tally.note()
    tally.expect(2)
    tally.note()
    assert tally.begin[0]
    assert not tally.end[0]
