"""Dead letters as they are stored."""

import json

from chicory.transport import DeadLetter
from chicory_nats.epitaph import letter, read_letter
from chicory_nats.reading import Stored
from chicory_nats.subjects import Subjects


def test_a_letter_of_before_the_class_was_kept_is_read():
    given = DeadLetter("a", "mail", "a", b"body", "failed", "no", 1, 5.0)
    sent = letter(Subjects("chicory"), given)
    about, _, body = sent.body.partition(b"\n")
    before = json.dumps(json.loads(about)[:-1]).encode()

    assert read_letter(Stored(b"", 1, {}, before + b"\n" + body)) == given
