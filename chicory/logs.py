"""Log lines for people and for programs, each naming the task that it is of.

Nothing here touches logging by itself. ``chicory worker`` calls ``set_up``; a program that has
handlers of its own adds ``TaskLabels()`` to them, and may use the formatters.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from textwrap import indent
from typing import Any, Literal

import msgspec

LogFormat = Literal["text", "json"]

LABELS = ("task_id", "task", "attempt", "queue")
"""What is said of the task that a line is of, in this order."""
NO_TASK: Mapping[str, Any] = dict.fromkeys(LABELS, "")
TEXT = "%(asctime)s %(levelname)-8s %(name)s  %(message)s"

current: ContextVar[Mapping[str, Any]] = ContextVar("chicory task", default=NO_TASK)
"""The labels of the attempt that runs; its tasks, coroutines and threads inherit them."""

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {
    "message",
    "asctime",
    "worker",
    "failure",
    *LABELS,
}

logger = logging.getLogger("chicory")


class Unfailing(logging.LoggerAdapter[logging.Logger]):
    """Logs without ever raising: filters, handlers and factories of records are a program's own.

    What they raise goes to stderr, as ``logging`` itself has it for handlers.
    """

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """Log, as from where this was called for."""
        try:
            self.logger.log(level, msg, *args, stacklevel=2, **kwargs)
        except Exception:  # noqa: BLE001  (the program's)
            if logging.raiseExceptions and sys.stderr is not None:  # pyright: ignore[reportUnnecessaryComparison]
                with suppress(OSError, ValueError):  # it is closed, or full
                    traceback.print_exc()


def unfailing(name: str) -> Unfailing:
    """The logger of this name, for where an error raised by it would do harm."""
    return Unfailing(logging.getLogger(name))


class Traceback(str):
    """The text of a task's failure, with which a message ends: as ``extra={"failure": ...}``."""

    __slots__ = ()

    @property
    def shown(self) -> str:
        """As it ends a line for people: no line of it steers a terminal, or passes for another."""
        return indent(harmless(self, kept="\n\t"), "  ")


class TaskLabels(logging.Filter):
    """Gives every record the attributes ``task_id``, ``task``, ``attempt``, ``queue``.

    They are empty outside of a task. ``attempt`` counts from 1. What a record has by the same name,
    from ``extra=``, stays. To be added to a handler: a logger's filter does not see what comes from
    the loggers below it. It must run where the line is logged: before a ``QueueHandler``'s queue.

    Args:
        worker: the id of this process's worker, for the attribute ``worker``.
    """

    def __init__(self, worker: str = "") -> None:
        super().__init__()
        self._worker = worker

    def filter(self, record: logging.LogRecord) -> bool:
        """Label the record, and let it pass."""
        attributes = record.__dict__
        for name, value in current.get().items():
            attributes.setdefault(name, value)
        for name in LABELS:  # a line of chicory's own about a message that cannot be decoded
            attributes.setdefault(name, "")
        attributes.setdefault("worker", self._worker)
        return True


class TextFormatter(logging.Formatter):
    """A line for people; that of a task begins with ``[task=... task_id=...]``."""

    def __init__(self) -> None:
        super().__init__(TEXT)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  (its name there)
        """The first line."""
        found = _labels(record)
        if found:
            told = " ".join(f"{name}={value}" for name, value in found.items())
            record.message = f"[{told}] {record.message}"
        return super().formatMessage(record)


class JSONFormatter(logging.Formatter):
    """One JSON object in one line.

    ``time`` (RFC 3339, UTC), ``level``, ``logger``, ``message``; ``worker`` and the labels of a
    task where there are any; ``exception`` and ``stack`` as text; and what ``extra=`` added.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        message, failure = record.getMessage(), getattr(record, "failure", None)
        fields: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC),
            "level": record.levelname,
            "logger": record.name,
            "message": message,
            **_labels(record, ("worker", *LABELS)),
        }
        if isinstance(failure, Traceback):
            fields["message"] = message.removesuffix(f"\n{failure.shown}")
            fields["exception"] = failure
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        elif record.exc_text:  # it comes from another process
            fields["exception"] = record.exc_text
        if record.stack_info:
            fields["stack"] = self.formatStack(record.stack_info)
        for name, value in vars(record).items():
            if name not in _STANDARD:
                fields.setdefault(name, value)
        return _json(fields)


def set_up(level: str, form: LogFormat, worker: str = "") -> None:
    """Log to stderr from this level on; handlers that a program has set up stay as they are."""
    root = logging.getLogger()
    logging.getLogger("chicory").setLevel(level)
    if not root.handlers:
        handler = logging.StreamHandler()
        handler.addFilter(TaskLabels(worker))
        handler.setFormatter(JSONFormatter() if form == "json" else TextFormatter())
        root.addHandler(handler)
        root.setLevel(level)
    elif form == "json":
        logger.warning(
            "log_format is json, but the app has set up logging itself, and its handlers stay: "
            "give them chicory.logs.JSONFormatter() and chicory.logs.TaskLabels()"
        )


def in_python(char: str) -> str:
    """A character as Python's literals write it."""
    return char.encode("unicode_escape").decode()


def harmless(text: str, kept: str = "", write: Callable[[str], str] = in_python) -> str:
    """Text with the control characters, which steer terminals, written out but for ``kept``."""
    if text.translate(dict.fromkeys(map(ord, kept))).isprintable():  # as nearly always, and cheap
        return text
    return "".join(char if char.isprintable() or char in kept else write(char) for char in text)


def _labels(record: logging.LogRecord, names: Sequence[str] = LABELS) -> dict[str, Any]:
    found = {name: getattr(record, name, "") for name in names}
    return {name: value for name, value in found.items() if value != ""}


def _json(fields: dict[str, Any]) -> str:
    try:
        return msgspec.json.encode(fields, enc_hook=str).decode()
    except Exception:  # noqa: BLE001  (whatever a program logs, the line is not lost)
        return msgspec.json.encode({_text(k): _text(v) for k, v in fields.items()}).decode()


def _text(value: object) -> str:
    try:
        text = value.isoformat() if isinstance(value, datetime) else str(value)
    except Exception as error:  # noqa: BLE001  (likewise)
        text = f"<its text cannot be had: {type(error).__name__}>"
    return text.encode("utf-8", "backslashreplace").decode()
