"""What is logged of a message that anybody may have written."""

import json
import logging

import pytest

from chicory import TaskMessage
from chicory import message as messages
from chicory.logs import JSONFormatter
from chicory.outcome import Bury, DeathReason, Fail, Failure, RetryIn, describe
from chicory.transport import Delivery, Priority
from chicory.worker.attempt import Attempt
from chicory.worker.tally import Tally

ODD = ["a\nERROR all is lost", "\x1b[2J", "\u2028", "a\x00b"]


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize(
    "verdict",
    [
        lambda failure: RetryIn(1.0, failure),
        Fail,
        lambda failure: Bury(DeathReason.FAILED, failure),
    ],
)
def test_no_exception_passes_for_a_line_of_the_log(caplog, odd, verdict):
    attempt = Attempt(Delivery("q", "1", b"", Priority.NORMAL, 1, None), 0.0)
    attempt.name = "name"

    with caplog.at_level(logging.WARNING, "chicory"):
        Tally().count(attempt, verdict(describe(ValueError(odd))), 0.0)

    (record,) = caplog.records
    first, *others = record.getMessage().split("\n")
    assert all(line.isprintable() for line in (first, *others))
    assert all(line.startswith("  ") for line in others if line)
    if others:
        told = json.loads(JSONFormatter().format(record))
        assert told["message"] == first
        assert told["exception"] == record.failure
        assert odd in told["exception"]


@pytest.mark.parametrize("odd", ODD)
def test_no_name_in_a_message_passes_for_a_line_of_the_log(caplog, odd):
    attempt = Attempt(Delivery("q", f"id {odd}", b"", Priority.NORMAL, 1, None), 0.0)
    attempt.envelope = messages.decode(messages.encode(TaskMessage(id="1", name=f"name {odd}")))
    attempt.name = attempt.envelope.name
    failure = Failure("unknown-task", f"no task is named {odd}")

    with caplog.at_level(logging.ERROR, "chicory"):
        Tally().count(attempt, Bury(DeathReason.UNKNOWN_TASK, failure), 0.0)

    (line,) = caplog.messages
    assert line.isprintable()
    assert all(f"{what} " in line for what in ("id", "name", "named"))
