"""When a request for messages has brought all that it will."""

from __future__ import annotations

import pytest

from chicory_nats.pull import Level, Pull, Raw

_LEVEL = Level(0, b"q", 1, "q_1")
_END = b"NATS/1.0 408 Request Timeout\r\nNats-Pending-Messages: 7\r\nNats-Pending-Bytes: 0\r\n\r\n"


def _message(seq: int) -> Raw:
    return Raw(_LEVEL, b"subject", seq, 1, b"ack", None, b"")


@pytest.mark.parametrize("before", range(4))
def test_the_word_that_there_is_no_more_may_overtake_what_was_sent(before):
    pull = Pull(_LEVEL, 10)

    over: list[bool] = []
    for number in range(4):
        if number == before:
            pull.end(b"408", _END)
        over.append(pull.over)
        if number < 3:
            pull.take(_message(number), 0)

    assert over == [False, False, False, True]
    assert len(pull.came) == 3


def test_where_nothing_was_sent_it_is_over_at_once():
    pull = Pull(_LEVEL, 10)

    pull.end(b"404", b"NATS/1.0 404 No Messages\r\n\r\n")

    assert pull.over


def test_a_request_that_brought_all_is_over_without_a_word():
    pull = Pull(_LEVEL, 2)

    pull.take(_message(1), 5)
    assert not pull.over
    pull.take(_message(2), 4)

    assert pull.over
    assert pull.left == 4


def test_a_consumer_that_is_gone_has_failed():
    pull = Pull(_LEVEL, 2)

    pull.end(b"503", b"NATS/1.0 503\r\n\r\n")

    assert (pull.over, pull.failed) == (True, True)
