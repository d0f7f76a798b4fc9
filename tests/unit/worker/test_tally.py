"""What is logged of a message that anybody may have written."""

import logging

import pytest

from chicory import TaskMessage
from chicory import message as messages
from chicory.outcome import Bury, DeathReason, Failure
from chicory.transport import Delivery, Priority
from chicory.worker.attempt import Attempt
from chicory.worker.tally import Tally


@pytest.mark.parametrize("odd", ["a\nERROR all is lost", "\x1b[2J", "\u2028", "a\x00b"])
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
