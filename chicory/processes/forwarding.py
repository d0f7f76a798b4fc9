"""Log lines of a process, on their way to the handlers of its worker."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import msgspec

from chicory.logs import current
from chicory.processes.wire import Line

_TOLD_APART = frozenset({"args", "msg", "message", "exc_info", "exc_text"})
_decode = msgspec.msgpack.Decoder(dict[str, Any]).decode


class Forwarder(logging.Handler):
    """Says every record, with the labels of the task that it is of."""

    def __init__(self, say: Callable[[Line], None]) -> None:
        super().__init__()
        self._say = say
        self._formatter = logging.Formatter()

    def set_up(self, levels: Mapping[str, int]) -> None:
        """Take the lines of all loggers, unless the program has handlers of its own."""
        root = logging.getLogger()
        if root.handlers:
            return
        root.addHandler(self)
        for name, level in levels.items():
            logging.getLogger(name or None).setLevel(level)

    def step_aside(self) -> None:
        """Leave the lines to standard error, unless somebody else takes them."""
        root = logging.getLogger()
        if self in root.handlers:
            root.removeHandler(self)
            logging.basicConfig()

    def emit(self, record: logging.LogRecord) -> None:
        """Say it."""
        attributes = {
            name: value for name, value in vars(record).items() if name not in _TOLD_APART
        }
        attributes["msg"] = _text(record)
        if record.exc_info:
            attributes["exc_text"] = self._formatter.formatException(record.exc_info)
        for name, value in current.get().items():
            attributes.setdefault(name, value)
        with suppress(OSError):  # the worker is gone
            self._say(Line(_packed(attributes)))


def levels() -> dict[str, int]:
    """The levels that this process has set, by the name of the logger."""
    root = logging.getLogger()
    named = {
        name: one.level
        for name, one in list(root.manager.loggerDict.items())
        if isinstance(one, logging.Logger) and one.level
    }
    return {"": root.level, **named}


def deliver(line: Line) -> None:
    """Hand a line to the handlers of this process, as if it had been logged here."""
    record = logging.makeLogRecord(_decode(line.attributes))
    logger = logging.getLogger(record.name)
    if logger.isEnabledFor(record.levelno):
        logger.handle(record)


def _text(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception as error:  # noqa: BLE001  (the user's arguments)
        return f"{record.msg} <its text cannot be had: {type(error).__name__}>"


def _packed(attributes: Mapping[str, Any]) -> bytes:
    try:
        return msgspec.msgpack.encode(attributes, enc_hook=str)
    except Exception:  # noqa: BLE001  (whatever a program logs, the line is not lost)
        return msgspec.msgpack.encode({name: _plain(attributes[name]) for name in attributes})


def _plain(value: object) -> object:
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int) and abs(value) < 1 << 63:
        return value
    try:
        text = str(value)
    except Exception as error:  # noqa: BLE001  (likewise)
        text = f"<its text cannot be had: {type(error).__name__}>"
    return text.encode("utf-8", "backslashreplace").decode()
