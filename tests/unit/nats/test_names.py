"""Any text as a token of a subject."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chicory_nats.names import NOTHING, text_of, token

_ANY = st.text(min_size=1, max_size=255)


def test_plain_text_stands_for_itself():
    assert token("emails-2_A") == "emails-2_A"


def test_what_subjects_reserve_is_escaped():
    assert token("a.b *>") == "a=2Eb=20=2A=3E"


@given(_ANY)
def test_a_token_can_be_part_of_a_subject_and_a_name(text):
    made = token(text)

    assert 0 < len(made) <= 80
    assert made.isascii()
    assert not set(made) & set(" .*>\t\r\n/\\\0")
    assert made != NOTHING


@given(_ANY)
def test_a_token_that_is_not_hashed_can_be_read(text):
    assert text_of(token(text)) in {text, None}


@given(_ANY, _ANY)
def test_different_texts_have_different_tokens(one, other):
    assert (token(one) == token(other)) == (one == other)


def test_what_is_too_long_is_hashed_and_still_told_apart():
    one, other = "x" * 254 + "y", "x" * 254 + "z"

    assert text_of(token(one)) is None
    assert token(one) != token(other)


def test_a_text_that_looks_like_a_hash_is_escaped():
    assert text_of(token(token("x" * 255))) in {None, token("x" * 255)}
    assert token("~") == "=7E"


def test_lone_surrogates_are_text_too():
    assert text_of(token("\ud800")) == "\ud800"
