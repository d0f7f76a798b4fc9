"""A message that was given up."""

from __future__ import annotations

from msgspec import Struct

from chicory.transport.publication import Priority


class DeadLetter(Struct, frozen=True):
    """A message that was given up, kept with the reason until it is replayed or discarded.

    Attributes:
        id: identity of the dead letter within the namespace.
        queue: the queue it was on.
        task_id: the call.
        body: the bytes as they were fetched, also where they could not be decoded.
        reason: one word for why: see ``chicory.outcome.DeathReason``.
        error: a sentence for people.
        retries: attempts made after the first one.
        failed_at: when it was given up.
        priority: its level.
        error_type: the class of the last exception, with its module; empty where there was none.
    """

    id: str
    queue: str
    task_id: str
    body: bytes
    reason: str
    error: str
    retries: int
    failed_at: float
    priority: Priority = Priority.NORMAL
    error_type: str = ""
