import re
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chicory import record
from chicory.errors import MessageError, MessageVersionError, TaskCancelledError, TaskError
from chicory.record import StoredResult, TaskResult
from chicory.states import TaskState

PAGE = Path(__file__).parents[2] / "docs" / "wire-format.md"
WHOLE = TaskResult(
    task_id="a",
    state=TaskState.FAILURE,
    result=[1],
    error="e",
    error_type="t",
    traceback="tb",
    name="n",
    retries=2,
    started_at=1.5,
    finished_at=2.5,
    worker_id="w",
)


def test_the_table_of_the_page_has_the_fields_in_their_order():
    table = PAGE.read_text().split("## A result")[1]

    rows = re.findall(r"^\| (\d+) \| (\w+) \|", table, re.MULTILINE)

    assert rows == [(str(index), name) for index, name in enumerate(TaskResult.__struct_fields__)]
    assert TaskResult.__struct_fields__ == StoredResult.__struct_fields__


def test_the_states_of_the_page_are_those_that_can_be_stored():
    row = re.search(r"^\| 2 \| state .*$", PAGE.read_text(), re.MULTILINE)
    assert row is not None

    printed = set(re.findall(r"`([A-Z_]+)`", row[0]))

    assert printed == {state.value for state in TaskState if state.final} | {"RETRY"}


def test_what_is_written_is_what_is_read():
    body = record.encode(WHOLE)

    assert record.decode_plain(body) == WHOLE
    assert record.encode(record.decode(body)) == body


@pytest.mark.parametrize("length", range(3, 12))
def test_trailing_fields_may_be_left_out(length):
    items = msgspec.msgpack.decode(record.encode(WHOLE))[:length]

    assert record.decode(msgspec.msgpack.encode(items)).state is TaskState.FAILURE


def test_unknown_trailing_fields_are_ignored():
    items = [*msgspec.msgpack.decode(record.encode(WHOLE)), "new"]

    assert record.decode_plain(msgspec.msgpack.encode(items)) == WHOLE


def test_a_newer_version_is_not_guessed_at():
    for decode in (record.decode, record.decode_plain):
        with pytest.raises(MessageVersionError, match=r"result of format 2.*upgrade"):
            decode(msgspec.msgpack.encode([2, "a", "SUCCESS"]))


def test_a_state_that_is_none_is_no_record():
    with pytest.raises(MessageError):
        record.decode(msgspec.msgpack.encode([1, "a", "DONE"]))


@given(st.binary(max_size=100))
def test_random_bytes_are_a_message_error(body):
    for decode in (record.decode, record.decode_plain):
        try:
            decode(body)
        except MessageError:
            continue


def test_a_failure_carries_what_happened_elsewhere():
    error = StoredResult(
        task_id="a", state=TaskState.FAILURE, error="no", error_type="m.E", traceback="T"
    ).failure()

    assert type(error) is TaskError
    assert (error.task_id, error.type_name, error.message) == ("a", "m.E", "no")
    assert error.remote_traceback == "T"
    assert "m.E: no" in str(error)


def test_a_cancelled_call_is_an_error_of_its_own():
    error = StoredResult(task_id="a", state=TaskState.CANCELLED).failure()

    assert type(error) is TaskCancelledError
    assert str(error) == "CANCELLED (task a)"
