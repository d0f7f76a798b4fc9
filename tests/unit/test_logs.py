"""Log lines: for people, for programs, each with the task that it is of."""

from __future__ import annotations

import io
import json
import logging
from contextlib import contextmanager, redirect_stderr
from datetime import datetime

import pytest

from chicory.logs import JSONFormatter, TaskLabels, TextFormatter, current, set_up, unfailing

OF_A_TASK = {"task_id": "17", "task": "mail.send", "attempt": 2, "queue": "slow"}


@pytest.fixture
def in_a_task():
    token = current.set(OF_A_TASK)
    yield
    current.reset(token)


@pytest.fixture
def tree():
    """A logger that passes nothing on, and one below it."""
    top = logging.getLogger("a-program")
    top.propagate = False
    top.setLevel(logging.DEBUG)
    yield top
    top.handlers.clear()


@pytest.fixture
def lines(tree):
    def lines(formatter, worker="w-1"):
        out = io.StringIO()
        handler = logging.StreamHandler(out)
        handler.setFormatter(formatter)
        handler.addFilter(TaskLabels(worker))
        tree.addHandler(handler)
        return lambda: out.getvalue().splitlines()

    return lines


def test_a_line_for_people_begins_with_its_task(tree, lines, in_a_task):
    written = lines(TextFormatter())

    tree.getChild("part").warning("sent to %s", "ada")

    (line,) = written()
    assert line.endswith(
        "WARNING  a-program.part  [task_id=17 task=mail.send attempt=2 queue=slow] sent to ada"
    )


def test_a_line_outside_of_a_task_is_as_ever(tree, lines):
    written = lines(TextFormatter())

    tree.info("hello")

    assert written()[0].endswith("INFO     a-program  hello")


def test_a_line_for_programs_is_one_object(tree, lines, in_a_task):
    written = lines(JSONFormatter())

    tree.getChild("part").info("two\nlines", extra={"amount": 3})

    (line,) = written()
    told = json.loads(line)
    assert datetime.fromisoformat(told.pop("time")).tzinfo is not None
    assert told == {
        "level": "INFO",
        "logger": "a-program.part",
        "message": "two\nlines",
        "worker": "w-1",
        "amount": 3,
        **OF_A_TASK,
    }


def test_what_is_not_known_is_left_out(tree, lines):
    written = lines(JSONFormatter(), worker="")

    tree.info("hello")

    assert set(json.loads(written()[0])) == {"time", "level", "logger", "message"}


def test_an_exception_has_a_key_of_its_own(tree, lines):
    written = lines(JSONFormatter())

    tree.error("failed", exc_info=ValueError("bad"), stack_info=True)

    told = json.loads(written()[0])
    assert told["message"] == "failed"
    assert told["exception"].endswith("ValueError: bad")
    assert told["stack"].startswith("Stack")


def test_what_a_line_says_itself_of_its_task_stays(tree, lines, in_a_task):
    written = lines(JSONFormatter())

    tree.info("about another one", extra={"task_id": "99"})

    told = json.loads(written()[0])
    assert (told["task_id"], told["queue"]) == ("99", "slow")


class Unspeakable:
    def __str__(self):
        raise RuntimeError


@pytest.mark.parametrize(
    "value", [Unspeakable(), {1, "a"}, 2**70, "\udcff", {("a", 1): 2}, b"\xff", float("nan")]
)
def test_no_line_is_lost_whatever_it_is_given(value):
    # not by way of a logger: who reports tests cannot write down all of this
    record = logging.makeLogRecord({"msg": "odd \udcff", "value": value, **OF_A_TASK})

    told = json.loads(JSONFormatter().format(record))

    assert told["message"].startswith("odd ")
    assert "value" in told
    assert told["task_id"] == "17"


def test_a_format_of_the_users_can_name_the_labels(tree, lines):
    written = lines(logging.Formatter("%(task)s|%(attempt)s|%(queue)s|%(task_id)s|%(message)s"))
    tree.info("outside")
    token = current.set(OF_A_TASK)
    tree.info("inside")
    current.reset(token)

    assert written() == ["||||outside", "mail.send|2|slow|17|inside"]


@contextmanager
def bare(*handlers):
    """Logging as in a new process, with a stderr that is kept; pytest has handlers of its own."""
    root, ours = logging.getLogger(), logging.getLogger("chicory")
    before, levels = root.handlers, (root.level, ours.level)
    root.handlers = list(handlers)
    with redirect_stderr(io.StringIO()) as out:
        yield out
    root.handlers = before
    root.setLevel(levels[0])
    ours.setLevel(levels[1])


@pytest.mark.parametrize("form", ["text", "json"])
def test_the_command_line_logs_what_the_app_logs(form):
    with bare() as out:
        set_up("INFO", form, "w-1")

        logging.getLogger("an.app").info("hello")
        logging.getLogger("an.app").debug("not so loud")

    (line,) = out.getvalue().splitlines()
    assert (line[0] == "{") is (form == "json")
    assert "hello" in line


def test_handlers_that_the_app_has_set_up_stay():
    theirs = logging.StreamHandler(heard := io.StringIO())
    theirs.setFormatter(logging.Formatter("theirs: %(message)s"))

    with bare(theirs):
        set_up("INFO", "json")

        logging.getLogger("an.app").warning("hello")

    told, hello = heard.getvalue().splitlines()
    assert "the app has set up logging itself" in told
    assert hello == "theirs: hello"


def test_an_unfailing_logger_s_line_says_where_it_was_called_for(caplog):
    caplog.set_level(logging.INFO)

    unfailing("a.program").info("so it is")

    assert [record.funcName for record in caplog.records] == [
        "test_an_unfailing_logger_s_line_says_where_it_was_called_for"
    ]
