"""Dead letters as they are stored."""

from msgspec import msgpack

from chicory.transport import DeadLetter
from chicory_redis import letters


def test_a_letter_of_before_the_class_was_kept_is_read():
    letter = DeadLetter("a", "mail", "a", b"body", "failed", "no", 1, 5.0)
    told = msgpack.decode(letters.pack(letter))
    del told["error_type"]

    assert letters._unpack(b"4:mail" + msgpack.encode(told)) == letter
