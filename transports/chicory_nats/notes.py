"""What is noted of a call beside its message and outcome. Pure."""

from __future__ import annotations

from chicory_nats import headers
from chicory_nats.headers import expect, lifetime, line
from chicory_nats.intents import Intent
from chicory_nats.subjects import Kind, Subjects
from chicory_nats.ticket import Ticket
from chicory_nats.wire import Outgoing

_LATE = 60.0
"""Seconds that a renewal is kept, beyond the leases that it may be needed for."""
_BARRED = 3600.0
"""Seconds that who took a key may stand still before its message is stored, and find the bar."""
_REQUESTED = 7 * 86_400.0
"""Seconds that a request to cancel a running call is kept."""


def mark(
    subjects: Subjects,
    ticket: Ticket,
    expected: int,
    *,
    holds: bool,
    deliveries: int,
    operation: bytes,
) -> Outgoing:
    """The note that a message is leased from now on, or that it was given back."""
    block = (
        expect(expected, subjects.thread(ticket.place.call))
        + headers.ROLLUP
        + line(headers.HOLDS, b"1" if holds else b"0")
        + line(headers.DELIVERIES, deliveries)
        + line(headers.OPERATION, operation)
    )
    return Outgoing(subjects.message(Kind.MARK, ticket.place), block)


def renewal(subjects: Subjects, ticket: Ticket, expected: int, lease: float) -> Outgoing:
    """The note that a lease goes on."""
    block = (
        expect(expected, subjects.thread(ticket.place.call))
        + headers.ROLLUP
        + lifetime(lease * 2 + _LATE)
        + line(headers.BASIS, ticket.basis)
        + line(headers.DELIVERIES, ticket.deliveries)
    )
    return Outgoing(subjects.about(Kind.RENEWAL, ticket.place.call), block)


def request(subjects: Subjects, call: bytes, top: int, identity: bytes) -> Outgoing:
    """The note that a leased message is to be cancelled."""
    block = (
        expect(top, subjects.thread(call))
        + headers.ROLLUP
        + lifetime(_REQUESTED)
        + line(headers.CALL, identity)
    )
    return Outgoing(subjects.about(Kind.REQUEST, call), block)


def key_holder(subjects: Subjects, wanted: Intent) -> Outgoing:
    """The note that a unique key is held."""
    unique = wanted.publication.unique
    assert unique is not None
    subject = subjects.unique(unique.key)
    block = (
        expect(wanted.key_expected, subject)
        + headers.ROLLUP
        + headers.lasting(unique.ttl)
        + line(headers.CALL, wanted.call)
    )
    return Outgoing(subject, block, wanted.publication.task_id.encode("utf-8", "surrogatepass"))


def bar(subjects: Subjects, call: bytes, top: int) -> Outgoing:
    """The note that has a message refused which may be about to come to a thread without one."""
    block = expect(top, subjects.thread(call)) + headers.ROLLUP + lifetime(_BARRED)
    return Outgoing(subjects.about(Kind.BAR, call), block)
