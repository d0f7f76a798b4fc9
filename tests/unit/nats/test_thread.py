"""What the messages of a call say about it."""

from __future__ import annotations

import msgspec

from chicory_nats.guard import Verdict, judge
from chicory_nats.pull import Level, Raw
from chicory_nats.reading import Stored
from chicory_nats.sequel import Sequel
from chicory_nats.subjects import Kind
from chicory_nats.thread import Thread, threads
from chicory_nats.wire import Outgoing

_CALL = b"call"


def _stored(kind: bytes, seq: int, body: bytes = b"", at: int = 0, **headers: object) -> Stored:
    """A message; ``at``: seconds of the server's clock."""
    block = {f"Chicory-{name}".encode(): str(value).encode() for name, value in headers.items()}
    block[b"Nats-Time-Stamp"] = b"1970-01-01T00:00:%02d.123456789Z" % at
    return Stored(b"chicory.ns.m.%b.q.1.%b" % (kind, _CALL), seq, block, body)


def _thread(*stored: Stored) -> Thread:
    return threads(stored, [_CALL])[_CALL]


_MESSAGE = _stored(Kind.QUEUED, 10, Call="a")


def test_every_kind_but_a_dead_letter_is_part_of_a_thread():
    kinds = {kind for kind in vars(Kind).values() if isinstance(kind, bytes)}

    assert {*Kind.OF_THREADS} == kinds - {Kind.DEAD}


def test_of_two_outcomes_the_last_one_counts():
    retried = _stored(Kind.RECORD, 11, Settles=10, Sequel=1)
    given_up = _stored(Kind.END, 13, Settles=12, Sequel=1)

    for thread in (_thread(retried, given_up), _thread(_MESSAGE, retried, given_up)):
        assert thread.outcome == given_up
        assert thread.may_be_followed


def test_what_follows_the_outcome_of_another_message_is_not_stored_any_more():
    written = msgspec.msgpack.encode((b"subject", b"", 0, b"body", 0))
    outcome = _stored(Kind.RECORD, 13, written, Settles=12, Sequel=len(written))

    assert _thread(_MESSAGE, outcome).sequel is None
    followed = _thread(_stored(Kind.QUEUED, 12, Call="a"), outcome).sequel
    assert followed == Sequel(_CALL, 13, Outgoing(b"subject", b"", b"body"))


def test_an_outcome_that_something_has_come_after_is_followed_by_nothing():
    retried, bar = _stored(Kind.RECORD, 11, Settles=10, Sequel=1), _stored(Kind.BAR, 12)

    assert not _thread(_MESSAGE, retried, bar).may_be_followed
    assert not _thread(_stored(Kind.RECORD, 11, Settles=10)).may_be_followed


def test_an_empty_thread_is_no_live_call():
    empty = _thread()

    assert (empty.live, empty.holder, empty.top) == (False, None, 0)


def test_a_message_is_live_and_its_first_lease_is_its_own_number():
    waiting = _thread(_MESSAGE)

    assert (waiting.live, waiting.holder, waiting.top) == (True, 10, 10)


def test_a_delayed_message_is_live_and_nobody_holds_it():
    delayed = _thread(_stored(Kind.SCHEDULED, 10, Call="a"))

    assert (delayed.live, delayed.scheduled, delayed.holder) == (True, True, None)


def test_a_mark_takes_the_lease_from_whoever_was_first():
    marked = _thread(_MESSAGE, _stored(Kind.MARK, 11, at=5, Holds=1, Deliveries=2))

    assert (marked.holder, marked.held_until(2.0)) == (11, 7.123456)
    assert marked.deliveries(9) == 3


def test_a_mark_older_than_the_message_says_nothing():
    again = _thread(_stored(Kind.MARK, 9, at=5, Holds=1, Deliveries=2), _MESSAGE)

    assert (again.holder, again.mark, again.held_until(2.0)) == (10, None, 0.0)


def test_what_was_given_back_has_no_holder_and_keeps_its_count():
    free = _thread(_MESSAGE, _stored(Kind.MARK, 11, at=5, Holds=0, Deliveries=0))

    assert free.given_back
    assert (free.holder, free.held_until(2.0)) == (None, 0.0)
    assert free.deliveries(7) == 1


def test_a_renewal_counts_for_the_lease_that_it_names_only():
    mine = _thread(_MESSAGE, _stored(Kind.RENEWAL, 12, at=8, Basis=10, Deliveries=1))
    other = _thread(
        _MESSAGE,
        _stored(Kind.MARK, 13, at=3, Holds=1, Deliveries=2),
        _stored(Kind.RENEWAL, 12, at=8, Basis=10, Deliveries=1),
    )

    assert (mine.held_until(2.0), mine.deliveries(5)) == (10.123456, 2)
    assert (other.held_until(2.0), other.deliveries(5)) == (5.123456, 3)


def test_a_record_that_settles_the_message_ends_the_call():
    over = _thread(_MESSAGE, _stored(Kind.RECORD, 11, b"result", Settles=10, Until=99.0))

    assert (over.live, over.holder, over.top) == (False, None, 11)
    assert over.body(now=98.0) == b"result"
    assert over.body(now=99.0) is None


def test_a_record_of_an_earlier_message_does_not_end_this_one():
    again = _thread(_stored(Kind.RECORD, 5, b"result", Settles=4, Until=99.0), _MESSAGE)

    assert again.live
    assert again.holder == 10


def test_an_interim_record_moves_the_end_of_the_thread_and_not_the_lease():
    interim = _thread(_MESSAGE, _stored(Kind.RECORD, 11, b"started", Until=99.0))

    assert (interim.holder, interim.top) == (10, 11)


def test_a_deleted_record_is_none():
    assert _thread(_stored(Kind.RECORD, 11, Gone=1, Until=99.0)).body(now=0.0) is None


def test_a_message_that_is_being_taken_away_is_none():
    assert not _thread(_stored(Kind.QUEUED, 10, Gone=1)).live


def test_a_request_to_cancel_is_for_one_call_of_an_id():
    asked = _thread(_MESSAGE, _stored(Kind.REQUEST, 11, Call="a"))
    earlier = _thread(_MESSAGE, _stored(Kind.REQUEST, 9, Call="b"))

    assert asked.cancelled
    assert not earlier.cancelled


def test_who_stored_something_is_known():
    written = _thread(_MESSAGE, _stored(Kind.RECORD, 11, Settles=10, Op="mine"))

    assert written.written_by(b"mine")
    assert not written.written_by(b"other")


def test_threads_are_told_apart():
    other = Stored(b"chicory.ns.m.q.q.1.other", 3, {}, b"")

    found = threads([_MESSAGE, other], [_CALL, b"other", b"none"])

    assert [found[call].top for call in (_CALL, b"other", b"none")] == [10, 3, 0]


def _raw(seq: int) -> Raw:
    return Raw(Level(0, b"q", 1, "q_1"), b"", seq, 2, b"", None, b"")


def test_a_delivery_of_what_nobody_holds_may_be_taken():
    assert judge(_raw(10), _thread(_MESSAGE), now=0.0, lease=2.0) is Verdict.TAKE


def test_a_delivery_of_what_somebody_holds_may_not_until_the_lease_is_over():
    held = _thread(_MESSAGE, _stored(Kind.MARK, 11, at=3, Holds=1, Deliveries=1))

    assert judge(_raw(10), held, now=5.1, lease=2.0) is Verdict.LEASED
    assert judge(_raw(10), held, now=5.2, lease=2.0) is Verdict.TAKE


def test_a_delivery_of_what_is_settled_replaced_or_gone_is_over():
    settled = _thread(_MESSAGE, _stored(Kind.END, 11, Settles=10))
    replaced = _thread(_stored(Kind.QUEUED, 12, Call="a"))

    for found in (settled, replaced, _thread()):
        assert judge(_raw(10), found, now=0.0, lease=2.0) is Verdict.OVER


def test_a_message_is_known_by_itself_and_by_its_outcome_whatever_came_after():
    ended = _stored(Kind.END, 12, Settles=10, Call="a")
    again = _stored(Kind.QUEUED, 13, Call="b")

    assert _thread(_MESSAGE).knows(b"a")
    assert _thread(ended).knows(b"a")
    assert _thread(ended, again).knows(b"a")
    assert not _thread(ended).knows(b"b")
    assert not _thread().knows(b"a")
