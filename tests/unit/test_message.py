import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chicory import message as messages
from chicory.errors import MessageError, MessageVersionError
from chicory.message import Envelope, TaskMessage, new_id, new_ids

PAGE = Path(__file__).parents[2] / "docs" / "wire-format.md"
ADD = TaskMessage(id="a1", name="tasks.add", args=[2, 3], priority=1)
HEADER = bytes.fromhex("01 a2 6131 a9 7461736b732e616464")


def test_the_whole_example_of_the_page_is_what_is_written():
    block = re.search(r"published at 0\.0:\n\n((?: {4}.*\n)+)", PAGE.read_text())
    assert block is not None
    octets = [re.match(r" +((?:[0-9a-f]{2} )+)", line + " ") for line in block[1].splitlines()]

    printed = bytes.fromhex("".join(found[1] for found in octets if found))

    assert messages.encode(ADD) == printed
    assert messages.decode_whole(printed) == ADD


def test_the_shortest_example_of_the_page_is_the_same_call():
    shortest = re.search(r"shortest message for the same call is `([0-9a-f ]+)`", PAGE.read_text())
    assert shortest is not None

    read = messages.decode_whole(bytes.fromhex(shortest[1]))

    assert read == TaskMessage(id="a1", name="tasks.add", args=[2, 3])


def test_every_byte_example_of_the_page_is_checked_here():
    examples = re.findall(r"^ {4}(?:9|dc)|`9[0-9a-f] ", PAGE.read_text(), re.MULTILINE)

    assert len(examples) == 2


def test_the_table_of_the_page_has_the_fields_in_their_order():
    table = PAGE.read_text().split("## A message")[1].split("`add(2, 3)`")[0]

    rows = re.findall(r"^\| (\d+) \| (\w+) \|", table, re.MULTILINE)

    assert rows == [(str(index), name) for index, name in enumerate(TaskMessage.__struct_fields__)]
    assert TaskMessage.__struct_fields__ == Envelope.__struct_fields__


@pytest.mark.parametrize("length", range(4, 17))
def test_trailing_fields_may_be_left_out(length):
    items = msgspec.msgpack.decode(messages.encode(ADD))

    read = messages.decode_whole(msgspec.msgpack.encode(items[:length]))

    assert (read.id, read.name, read.args) == ("a1", "tasks.add", [2, 3])


def test_a_call_without_arguments_needs_three_items():
    read = messages.decode_whole(b"\x93" + HEADER)

    assert (read.args, read.kwargs) == ([], {})
    envelope = messages.decode(b"\x93" + HEADER)
    assert (bytes(envelope.args), bytes(envelope.kwargs)) == (b"\x90", b"\x80")


def test_unknown_trailing_fields_are_ignored():
    items = [*msgspec.msgpack.decode(messages.encode(ADD)), "of a later day", {"x": [1]}]

    assert messages.decode_whole(msgspec.msgpack.encode(items)) == ADD


@pytest.mark.parametrize("version", [2, 300, 2**64 - 1])
@pytest.mark.parametrize("rest", [["a1", "tasks.add"], [], [{"all": "new"}], ["a1", "t", 5, 6]])
def test_a_newer_version_is_named_and_not_guessed_at(version, rest):
    body = msgspec.msgpack.encode([version, *rest])

    with pytest.raises(MessageVersionError, match=rf"format {version}.*upgrade"):
        messages.decode(body)


@pytest.mark.parametrize("version", [0, -1, -(2**63)])
def test_a_version_that_never_was_is_no_newer_one(version):
    body = msgspec.msgpack.encode([version, "a1", "tasks.add"])

    with pytest.raises(MessageError) as caught:
        messages.decode(body)

    assert not isinstance(caught.value, MessageVersionError)


@pytest.mark.parametrize(
    "items",
    [
        [1, "", "t"],
        [1, "i" * 256, "t"],
        [1, 5, "t"],
        [1, "a", None],
        [1, "a", "t", [], {}, -1],
        [1, "a", "t", [], {}, 0, None, -1],
        [1, "a", "t", [], {}, 0, None, 256],
        [1, "a", "t", [], {}, 0, 12.5],
        [1, "a"],
        [],
        {},
        None,
        "text",
        [1.0, "a", "t"],
        [True, "a", "t"],
    ],
    ids=repr,
)
def test_what_the_page_does_not_allow_is_no_message(items):
    with pytest.raises(MessageError):
        messages.decode(msgspec.msgpack.encode(items))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        b"\xdd\xff\xff\xff\xff",
        b"\x94" + HEADER + b"\xdd\xff\xff\xff\xff",
        b"\x94" + HEADER + b"\xc6\xff\xff\xff\xff",
        b"\x94" + HEADER + b"\x91" * 500_000 + b"\xc0",
        b"\x94" + HEADER + b"\x81" * 500_000 + b"\xc0",
        b"\x91" * 500_000,
        b"\x92\x02" + b"\x91" * 500_000,
    ],
    ids=[
        "empty",
        "reserved",
        "long array",
        "long args",
        "long bytes",
        "deep",
        "deep map",
        "all deep",
        "newer and deep",
    ],
)
def test_hostile_bytes_are_a_message_error(body):
    for decode in (messages.decode, messages.decode_whole):
        with pytest.raises(MessageError):
            decode(body)


@given(st.binary(max_size=200))
def test_random_bytes_are_a_message_error(body):
    for decode in (messages.decode, messages.decode_whole):
        try:
            decode(body)
        except MessageError:
            continue


@given(cut=st.integers(0, 44))
def test_a_truncated_message_is_a_message_error(cut):
    whole = messages.encode(ADD)

    with pytest.raises(MessageError):
        messages.decode(whole[: min(cut, len(whole) - 1)])


@given(st.integers(0, 43), st.integers(0, 255))
def test_a_changed_byte_is_a_message_error_or_another_message(place, value):
    body = bytearray(messages.encode(ADD))
    body[place % len(body)] = value

    for decode in (messages.decode, messages.decode_whole):
        try:
            decode(bytes(body))
        except MessageError:
            continue


def test_arguments_that_cannot_be_read_leave_the_message_readable():
    unhashable = b"\x94" + HEADER + b"\x91\x81\x80\xc0"

    assert messages.decode(unhashable).id == "a1"
    with pytest.raises(MessageError, match=r"arguments of 'tasks\.add'"):
        messages.decode_whole(unhashable)


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
moments = st.datetimes(timezones=st.just(UTC))


@given(
    st.builds(
        TaskMessage,
        id=st.text(min_size=1, max_size=255),
        name=st.text(max_size=255),
        args=st.lists(plain, max_size=3),
        kwargs=st.dictionaries(st.text(), plain, max_size=3),
        retries=st.integers(0, messages.MAX_RETRIES),
        eta=st.none() | moments,
        priority=st.none() | st.integers(0, 255),
        enqueued_at=st.floats(allow_nan=False),
        expires_at=st.none() | st.floats(allow_nan=False),
        first_failure_at=st.none() | moments,
        last_error=st.none() | st.text(),
        headers=st.dictionaries(st.text(), st.text(), max_size=3),
    )
)
def test_what_is_written_is_what_is_read(message):
    body = messages.encode(message)

    assert messages.decode_whole(body) == message
    assert messages.encode(messages.decode(body)) == body


def test_an_eta_travels_as_a_timestamp():
    message = TaskMessage(id="a", name="t", eta=datetime(2027, 1, 1, tzinfo=UTC))

    items = msgspec.msgpack.decode(messages.encode(message), type=list[msgspec.Raw])

    assert bytes(items[6])[:2] == b"\xd6\xff"


def test_arguments_that_cannot_be_sent_are_named_with_their_task():
    with pytest.raises(MessageError, match=r"'t'.*object cannot be sent"):
        messages.encode(TaskMessage(id="a", name="t", args=[object()]))


def test_ids_are_unique():
    assert len({new_id() for _ in range(20_000)}) == 20_000


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
def test_a_forked_child_draws_random_bits_of_its_own():
    code = (
        "import os\n"
        "from chicory.message import new_id\n"
        "new_id()\n"
        "child = os.fork()\n"
        "child and os.waitpid(child, 0)\n"
        "print(new_id()[16:], flush=True)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    first, second = done.stdout.split()
    assert first != second


@pytest.mark.parametrize("number", [1, 2, 1_024])
def test_ids_drawn_together_are_unique_and_in_order(number):
    first, second = new_ids(number), new_ids(number)

    assert len(first) == len(second) == number
    assert len({*first, *second}) == 2 * number
    assert first == sorted(first)
    assert second == sorted(second)


@pytest.mark.parametrize("drawn", [0, 2**64 - 1])
@pytest.mark.parametrize("number", [1, 3, 4_096])
def test_the_bounds_of_what_is_drawn_are_ids_too(monkeypatch, drawn, number):
    monkeypatch.setattr("chicory.message._random", lambda: drawn)

    made = new_ids(number)

    assert len(set(made)) == number
    assert all(re.fullmatch(r"[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}", one) for one in made)


def test_ids_are_uuids_of_version_7():
    made = [new_id() for _ in range(100)]

    assert all(re.fullmatch(r"[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}", one) for one in made)


@given(st.lists(st.integers(0, 2**62), min_size=2, max_size=20))
def test_ids_are_in_order_of_time(offsets):
    times = iter(sorted(1_800_000_000_000_000_000 + offset // 244 * 250 for offset in offsets))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("chicory.message.time.time_ns", lambda: next(times))

        made = [new_id()[:16] for _ in offsets]

    assert made == sorted(made)


def test_ids_made_within_a_microsecond_are_in_order(monkeypatch):
    times = iter([1_800_000_000_000_000_250, 1_800_000_000_000_000_500, 1_800_000_000_000_000_750])
    monkeypatch.setattr("chicory.message.time.time_ns", lambda: next(times))

    made = [new_id() for _ in range(3)]

    assert made == sorted(made)
    assert len({one[:16] for one in made}) == 3
