"""The quick ways that nearly every call takes come to what the general ones come to."""

from __future__ import annotations

import pytest

import chicory_nats.outcomes
from chicory.transport import Publication, Record
from chicory_nats import outcomes
from chicory_nats.headers import CALL, FIRST, VERSION, call_of_first, expect, parse_own
from chicory_nats.intents import intent
from chicory_nats.messages import published
from chicory_nats.subjects import Subjects, place_of
from chicory_nats.ticket import Ticket

_SUBJECTS = Subjects("app")
_NOW = 1_764_000_000.25


@pytest.mark.parametrize("ttl", [0.5, 60.0, 86_400.0, 1e12])
def test_a_plain_record_is_the_record_with_its_guard_and_what_it_says(monkeypatch, ttl):
    class Time:
        @staticmethod
        def time() -> float:
            return _NOW

    monkeypatch.setattr(chicory_nats.outcomes, "time", Time)
    monkeypatch.setattr(chicory_nats.headers, "time", Time)
    place = place_of("q", 1, "id")
    ticket = Ticket("id", place, b"subject", 7, b"ack", b"call", b"body")
    given = Record("id", b"record", ttl)

    quick = outcomes.plain_record(_SUBJECTS, ticket, given, b"step", 18.0)

    said = outcomes.said(7, b"step", b"call")
    guard = expect(7, _SUBJECTS.thread(place.call))
    assert quick == outcomes.record(_SUBJECTS, given, more=guard + said, keep=18.0, instead=b"")


def _stored(publication: Publication, expected: int = 0) -> bytes:
    wanted = intent(publication)
    wanted.expected = expected
    message = published(_SUBJECTS, wanted)
    return b"%b\r\n%b\r\n" % (VERSION, message.headers)


def test_the_identity_of_a_first_message_is_read_quickly():
    block = _stored(Publication("q", "id", b"body"))

    assert call_of_first(block) == parse_own(block)[CALL]


@pytest.mark.parametrize(
    "block",
    [
        None,
        b"",
        _stored(Publication("q", "id", b"body"), expected=3),
        _stored(Publication("q", "id", b"body", not_before=9e9)),
        _stored(Publication("q", "x" * 200, b"body")),
        _stored(Publication("q", "id", b"body")).replace(FIRST, b"Chicory-Gone"),
    ],
    ids=["nothing", "no headers", "not the first", "delayed", "hashed", "gone"],
)
def test_what_says_more_is_not_read_quickly(block):
    assert call_of_first(block) is None


def test_what_is_delayed_does_not_say_that_it_is_the_first():
    # the server takes off what delayed it, and then it would say no more
    assert FIRST not in _stored(Publication("q", "id", b"body", not_before=9e9))
