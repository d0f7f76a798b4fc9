"""From a message to what the port takes: checked, so that no item fails the batch it is part of."""

from __future__ import annotations

import math

from chicory import message as messages
from chicory.accepted import brief
from chicory.errors import MessageTooLargeError, ValidationError
from chicory.message import TaskMessage
from chicory.names import check_name, check_plain
from chicory.seal import Seal
from chicory.transport import Priority, Publication, Unique

_LEVELS = tuple(Priority)


def publication(message: TaskMessage, queue: str, max_size: int, seal: Seal) -> Publication:
    """What to publish.

    Raises:
        ValidationError: the queue, the priority or the unique key is none that can be stored.
        MessageTooLargeError: it has more than ``max_size`` bytes.
        MessageError: its arguments cannot be encoded.
    """
    check_plain(queue, "queue")
    if message.unique is not None:
        _check_unique(message.unique)
    body = enclosed(messages.encode(message), message.name, max_size, seal)
    due = message.eta.timestamp() if message.eta else 0.0
    return Publication(queue, message.id, body, level(message.priority), due, message.unique)


def enclosed(body: bytes, name: str, max_size: int, seal: Seal) -> bytes:
    """The encoded message of a task, sealed. Raises ``MessageTooLargeError``."""
    body = seal.close(body)
    if len(body) > max_size:
        raise MessageTooLargeError(
            f"message for task {name!r} has {len(body):,} bytes, the limit is "
            f"{max_size:,}: pass a reference to the data, or raise CHICORY_MAX_MESSAGE_SIZE"
        )
    return body


def level(priority: int | None) -> Priority:
    """The level that a message's priority means. Raises ``ValidationError`` for none."""
    if priority is None:
        return Priority.NORMAL
    if not 0 <= priority <= 255:  # noqa: PLR2004  (as the message's docstring says)
        raise ValidationError(f"priority {priority!r}: 0 is low, 1 normal, 2 to 255 high")
    return _LEVELS[min(priority, Priority.HIGH)]


def _check_unique(unique: Unique) -> None:
    check_name(unique.key, "unique key")
    if not 0 < unique.ttl < math.inf:
        raise ValidationError(f"unique key {brief(unique.key)}: ttl={unique.ttl!r} is no time")
