"""Records, and what calls came to. Pure."""

from __future__ import annotations

import time

from chicory.transport import Record
from chicory_nats import headers
from chicory_nats.headers import identify, lifetime, line
from chicory_nats.names import token
from chicory_nats.subjects import Kind, Subjects
from chicory_nats.ticket import Ticket
from chicory_nats.wire import Outgoing

SHORT = 60.0
"""Seconds that what is soon forgotten is kept, beyond the leases that it may be needed for."""
LONG = 3600.0
"""Seconds to remember an outcome that must not come twice until its message is surely gone."""


def record(
    subjects: Subjects,
    given: Record,
    *,
    more: bytes = b"",
    keep: float = SHORT,
    instead: bytes = headers.ROLLUP,
) -> Outgoing:
    """A record; ``keep``: seconds to remember that one was deleted, or is an outcome.

    ``instead``: header lines that have it take the place of the one before.
    """
    call = token(given.task_id).encode()
    block = more + instead + identify(call, given.task_id)
    if given.body is None or given.ttl <= 0:
        block += line(headers.GONE, b"1") + lifetime(keep)
    else:
        block += headers.lasting(given.ttl, keep if more else 0.0)
    return Outgoing(subjects.about(Kind.RECORD, call), block, given.body or b"")


def plain_record(
    subjects: Subjects, ticket: Ticket, given: Record, operation: bytes, keep: float
) -> Outgoing:
    """The record of a call that comes to nothing else, and of which there was none before.

    What ``record`` makes with its guard and what it says, in one go: it is nearly all that a worker
    stores.
    """
    call = ticket.place.call
    block = _PLAIN % (
        ticket.seq,
        subjects.thread(call),
        ticket.seq,
        operation,
        ticket.call,
        headers.whole(max(given.ttl, keep)),
        time.time() + given.ttl,
    )
    return Outgoing(subjects.about(Kind.RECORD, call), block, given.body or b"")


def outlives(given: Record | None) -> bool:
    """Whether an outcome that is stored with this record is remembered longer than the record."""
    return given is None or not given.body or given.ttl < LONG


def end(
    subjects: Subjects,
    call: bytes,
    *,
    more: bytes = b"",
    keep: float = SHORT,
    instead: bytes = headers.ROLLUP,
) -> Outgoing:
    """The outcome of a message that leaves no record."""
    block = more + instead + lifetime(keep)
    return Outgoing(subjects.about(Kind.END, call), block)


def said(seq: int, operation: bytes, call: bytes) -> bytes:
    """Header lines: which message something is the outcome of, and the step that stored it.

    ``call``: the identity of the message, by which its publication is known when it is sent again.
    """
    return b"%b: %d\r\n%b: %b\r\n%b: %b\r\n" % (
        headers.SETTLES,
        seq,
        headers.OPERATION,
        operation,
        headers.CALL,
        call,
    )


_PLAIN = (
    b"%b: %%d\r\n%b-Subject: %%b\r\n%b: %%d\r\n%b: %%b\r\n%b: %%b\r\nNats-TTL: %%d\r\n%b: %%.6f\r\n"
    % (
        headers.EXPECTED,
        headers.EXPECTED,
        headers.SETTLES,
        headers.OPERATION,
        headers.CALL,
        headers.UNTIL,
    )
)
