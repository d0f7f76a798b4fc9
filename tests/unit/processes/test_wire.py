"""Frames, and exceptions and log lines as they travel in them."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chicory.context import FailTask, SnoozeTask
from chicory.errors import MaxRetriesExceededError, RetryError
from chicory.outcome import describe
from chicory.processes import wire
from chicory.processes.forwarding import Forwarder, deliver
from chicory.processes.telling import hear, tell
from chicory.processes.wire import Fault, Inbox, Line, Value, frame
from chicory.retry import RetryPolicy


@given(st.lists(st.binary(max_size=300), max_size=20), st.data())
def test_frames_come_out_whole_however_the_stream_is_cut(bodies, data):
    stream = b"".join(frame(Value(b"\xc4" + bytes([len(b)]) + b)) for b in bodies if len(b) < 256)
    inbox, found = Inbox(), []
    while stream:
        cut = data.draw(st.integers(1, len(stream)))
        found += inbox.feed(stream[:cut])
        stream = stream[cut:]

    said = [wire.answer(one) for one in found]
    assert [bytes(one.packed)[2:] for one in said] == [b for b in bodies if len(b) < 256]


@pytest.mark.parametrize("said", [Value, Line])
def test_what_a_task_nests_deeper_than_can_be_read_is_heard(said):
    deep = b"\x91" * 100_000 + b"\xc0"

    assert wire.answer(frame(said(deep))[4:]) == said(deep)


class Mine(LookupError):  # noqa: N818
    pass


def through(error, policy=None):
    told = wire.answer(frame(tell(error, policy))[4:])
    return told, hear(told)


def test_an_exception_is_described_and_filtered_as_if_it_had_been_raised_here():
    try:
        raise Mine("gone")  # noqa: TRY301
    except Mine as error:
        here, (_, there) = error, through(error)

    assert describe(there) == describe(here)
    for kinds in (["Mine"], [Mine], ["LookupError"], [LookupError], [f"{__name__}.Mine"]):
        assert RetryPolicy(retry_on=kinds).should_retry(there)
        assert not RetryPolicy(ignore_on=kinds).should_retry(there)
    for kinds in (["KeyError"], [KeyError], ["mine"]):
        assert not RetryPolicy(retry_on=kinds).should_retry(there)


def test_a_function_that_decides_sees_the_exception_itself():
    policy = RetryPolicy(retry_on=lambda error: type(error) is Mine)

    assert policy.should_retry(through(Mine(), policy)[1])
    assert not policy.should_retry(through(KeyError(), policy)[1])


def test_a_function_that_fails_decides_against_it(caplog):
    policy = RetryPolicy(retry_on=lambda error: error.nothing)

    assert not policy.should_retry(through(Mine(), policy)[1])
    assert "a retry_on failed of Mine: no retry" in caplog.text


def test_what_a_task_asks_for_arrives_as_that():
    _, snooze = through(SnoozeTask(3.5))
    _, fail = through(FailTask(Mine("given up")))
    _, again = through(RetryError("again", countdown=2.0, cause=Mine("because")))
    _, bare = through(RetryError("again"))
    _, grouped = through(ExceptionGroup("of a task group", [SnoozeTask(1.5)]))
    _, last = through(MaxRetriesExceededError("no more", cause=Mine("because")))

    assert isinstance(snooze, SnoozeTask)
    assert snooze.seconds == 3.5
    assert isinstance(grouped, SnoozeTask)
    assert isinstance(fail, FailTask)
    assert describe(fail.error).message == "given up"
    assert isinstance(again, RetryError)
    assert (again.countdown, str(again.cause)) == (2.0, "because")
    assert isinstance(bare, RetryError)
    assert (bare.countdown, describe(bare.cause).type_name) == (None, "chicory.errors.RetryError")
    assert isinstance(last, MaxRetriesExceededError)
    assert str(last.cause) == "because"


class Sly:
    def __str__(self):
        raise RuntimeError("no")


@pytest.mark.parametrize(
    "extra", [{"a": {1, 2}}, {"a": object}, {"a": 1 << 70}, {"a": "\udc80"}, {"a": Sly()}]
)
def test_a_log_line_gets_through_whatever_is_in_it(caplog, extra):
    said = []
    record = logging.makeLogRecord(
        {"name": "some.one", "levelno": 40, "levelname": "ERROR", "msg": "%s!", "args": ("a",)}
        | extra
    )

    Forwarder(said.append).emit(record)
    deliver(wire.answer(frame(said[0])[4:]))

    assert caplog.messages == ["a!"]


def test_a_log_line_that_cannot_be_made_is_told_of(caplog):
    said = []
    Forwarder(said.append).emit(
        logging.makeLogRecord({"name": "x", "levelno": 40, "msg": "%d", "args": ("a",)})
    )
    deliver(said[0])

    assert caplog.messages == ["%d <its text cannot be had: TypeError>"]


def test_a_fault_has_no_more_to_say_than_any_failure():
    told, _ = through(Mine("x" * 100_000))

    assert isinstance(told, Fault)
    assert len(told.error.message) == 4096
