"""Only who has a key can make a message that an app with keys runs."""

import hashlib
import hmac

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chicory.errors import ConfigurationError, MessageSignatureError
from chicory.seal import MARK, Seal, unsealed

A, B = f"a:{'1' * 32}", f"b:{'2' * 32}"
BODY = b"\x93\x01\xa1a\xa1t"


def test_the_format_is_the_one_described():
    secret = b"1" * 32
    signature = hmac.new(secret, b"chicory.message\x00" + BODY, hashlib.sha256).digest()

    assert Seal(A).close(BODY) == b"\x94\x02\xa1a\xc4\x20" + signature + b"\xc4\x06" + BODY


def test_the_first_key_signs_and_all_are_accepted():
    old, both, new = Seal(A), Seal(f"{B},{A}"), Seal(B)

    assert both.open(old.close(BODY)) == BODY
    assert new.open(both.close(BODY)) == BODY
    with pytest.raises(MessageSignatureError, match="key 'a', which is not accepted"):
        new.open(old.close(BODY))


@pytest.mark.parametrize("keys", [f"{A} {B}", f"{A}\n{B}\n", f" {A} , {B},"])
def test_keys_stand_in_a_line_or_one_a_line(keys):
    assert Seal(keys).close(BODY) == Seal(A).close(BODY)
    assert Seal(keys).open(Seal(B).close(BODY)) == BODY


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ("", "must be id:secret"),
        ("3" * 40, "must be id:secret"),
        (f":{'3' * 40}", "must be id:secret"),
        (f"{'k' * 65}:{'3' * 40}", "must be id:secret"),
        (f"k:{'3' * 31}", "the secret of 'k' has 31 characters"),
        (f"{A},a:{'3' * 40}", "two keys 'a'"),
    ],
)
def test_keys_that_are_none_are_refused_without_a_secret_in_the_words(keys, why):
    with pytest.raises(ConfigurationError, match=why) as raised:
        Seal(keys)

    assert "33333" not in str(raised.value)
    assert "kkkkk" not in str(raised.value)


@given(st.data())
def test_whatever_is_altered_is_noticed(data):
    sealed = bytearray(Seal(A).close(BODY))
    place = data.draw(st.integers(0, len(sealed) - 1))
    sealed[place] ^= data.draw(st.integers(1, 255))

    with pytest.raises(MessageSignatureError):
        Seal(A).open(bytes(sealed))


@given(st.binary(max_size=80), st.integers(0, 45))
def test_no_bytes_pass_for_sealed_ones(noise, cut):
    sealed = Seal(A).close(BODY)
    for body in (noise, MARK + noise, sealed[:cut], sealed[:cut] + noise + b"\x00"):
        with pytest.raises(MessageSignatureError):
            Seal(A).open(body)


def test_an_unsigned_message_is_taken_only_where_none_is_required():
    with pytest.raises(MessageSignatureError, match="not signed"):
        Seal(A).open(BODY)

    lenient = Seal(A, required=False)
    assert lenient.open(BODY) == BODY
    with pytest.raises(MessageSignatureError, match="altered"):
        lenient.open(Seal(A).close(BODY)[:-1] + b"u")


def test_without_keys_nothing_is_sealed_and_all_is_opened():
    bare = Seal()

    assert bare.close(BODY) is BODY
    assert bare.open(BODY) is BODY
    assert bare.reopen(BODY) is BODY
    assert bare.open(Seal(A).close(BODY)) == BODY
    assert unsealed(Seal(A).close(BODY)) == unsealed(BODY) == BODY


def test_who_cannot_seal_it_again_does_not_break_a_seal():
    with pytest.raises(MessageSignatureError, match="no key here"):
        Seal().reopen(Seal(A).close(BODY))

    assert Seal(A).reopen(Seal(A).close(BODY)) == BODY


def test_it_vouches_for_what_was_signed_only():
    sealed = Seal(A).close(BODY)

    assert Seal(A).vouches_for(sealed)
    assert not Seal(A, required=False).vouches_for(BODY)
    assert not Seal().vouches_for(sealed)


def test_what_is_sealed_twice_is_no_message():
    once = Seal(A).close(BODY)

    assert Seal(A).open(Seal(A).close(once)) == once
    assert msgspec.msgpack.decode(once)[0] == 2
