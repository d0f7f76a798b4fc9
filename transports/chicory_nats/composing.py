"""The messages that make up a publication, a record, a mark. Pure."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from urllib.parse import quote, unquote

from msgspec import Struct

from chicory.transport import Accepted, Publication, Record
from chicory_nats import headers
from chicory_nats.headers import expect, lifetime, line, schedule
from chicory_nats.names import text_of, token
from chicory_nats.subjects import Kind, Place, Subjects, place_of
from chicory_nats.ticket import Ticket, fresh
from chicory_nats.wire import Outgoing

ACCEPTED = Accepted()
SHORT = 60.0
"""Seconds that what is soon forgotten is kept, beyond the leases that it may be needed for."""
LONG = 3600.0
"""Seconds to remember an outcome that must not come twice until its message is surely gone."""
REQUESTED = 7 * 86_400.0
"""Seconds that a request to cancel a running call is kept."""


class Intent(Struct):
    """A publication on its way.

    Attributes:
        publication: what is to be stored.
        place: where.
        call: the identity that it gets.
        expected: where the thread of its call has to end.
        key_expected: the sequence number that the holder of its unique key has to have.
    """

    publication: Publication
    place: Place
    call: bytes
    expected: int = 0
    key_expected: int = 0


def intent(publication: Publication) -> Intent:
    """A publication that expects its id, and key, never to have been used."""
    place = place_of(publication.queue, publication.priority, publication.task_id)
    return Intent(publication, place, fresh())


class Content(Struct, frozen=True):
    """What is to be fetched, and when."""

    task_id: str
    body: bytes
    not_before: float = 0.0


def content(publication: Publication) -> Content:
    """What a publication is about."""
    return Content(publication.task_id, publication.body, publication.not_before)


def message(
    subjects: Subjects,
    given: Content,
    place: Place,
    call: bytes,
    *,
    more: bytes = b"",
    deliveries: int = 0,
) -> Outgoing:
    """A message to be fetched, at once or at its time; ``more``: further header lines."""
    subject = subjects.message(Kind.QUEUED, place)
    block = more + line(headers.CALL, call)
    if place.call.startswith(b"~"):
        block += _id_line(given.task_id)
    if deliveries:
        block += line(headers.DELIVERIES, deliveries)
    if given.not_before > time.time():
        block += schedule(given.not_before, subject)
        subject = subjects.message(Kind.SCHEDULED, place)
    return Outgoing(subject, block, given.body)


def guarded(guard: bytes, messages: Sequence[Outgoing]) -> Sequence[Outgoing]:
    """Messages that are stored in one step where a guard holds."""
    first, *others = messages
    return [Outgoing(first.subject, guard + first.headers, first.body), *others]


def in_place_of(subject: bytes, guard: bytes, messages: Sequence[Outgoing]) -> Sequence[Outgoing]:
    """Messages that, stored in one step, take the place of one that no consumer delivers.

    What is stored first stands for nothing, and is to be deleted. It takes the old one's subject,
    which the server purges for it: with a purge of what a consumer delivers that consumer would
    forget what it was about to deliver again.
    """
    block = guard + headers.ROLLUP + line(headers.GONE, b"1") + lifetime(SHORT)
    return [Outgoing(subject, block), *messages]


def task_id_of(call: bytes, block: Mapping[bytes, bytes]) -> str:
    """The id of a message."""
    known = text_of(call.decode())
    return (
        unquote(block[headers.TASK_ID].decode(), errors="surrogatepass") if known is None else known
    )


def published(subjects: Subjects, wanted: Intent) -> Sequence[Outgoing]:
    """The messages of a publication: itself, and who holds its unique key."""
    publication, place = wanted.publication, wanted.place
    more = expect(wanted.expected, subjects.thread(place.call))
    if not wanted.expected and not publication.not_before:
        more += line(headers.FIRST, b"1")
    stored = message(subjects, content(publication), place, wanted.call, more=more)
    if publication.unique is None:
        return [stored]
    return [key_holder(subjects, wanted), stored]


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
    block = more + instead
    if call.startswith(b"~"):
        block += _id_line(given.task_id)
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
    ticket: Ticket,
    *,
    more: bytes = b"",
    keep: float = SHORT,
    instead: bytes = headers.ROLLUP,
) -> Outgoing:
    """The outcome of a message that leaves no record."""
    block = more + instead + lifetime(keep)
    return Outgoing(subjects.about(Kind.END, ticket.place.call), block)


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


def mark(
    subjects: Subjects,
    ticket: Ticket,
    expected: int,
    *,
    until: float,
    deliveries: int,
    operation: bytes,
) -> Outgoing:
    """The note that a message is leased until a point in time; 0: that it was given back."""
    block = (
        expect(expected, subjects.thread(ticket.place.call))
        + headers.ROLLUP
        + line(headers.HOLDS, b"1" if until else b"0")
        + line(headers.UNTIL, until)
        + line(headers.DELIVERIES, deliveries)
        + line(headers.OPERATION, operation)
    )
    return Outgoing(subjects.message(Kind.MARK, ticket.place), block)


def renewal(subjects: Subjects, ticket: Ticket, expected: int, lease: float) -> Outgoing:
    """The note that a lease goes on."""
    block = (
        expect(expected, subjects.thread(ticket.place.call))
        + headers.ROLLUP
        + lifetime(lease * 2 + SHORT)
        + line(headers.BASIS, ticket.basis)
        + line(headers.UNTIL, time.time() + lease)
        + line(headers.DELIVERIES, ticket.deliveries)
    )
    return Outgoing(subjects.about(Kind.RENEWAL, ticket.place.call), block)


def request(subjects: Subjects, call: bytes, top: int, identity: bytes) -> Outgoing:
    """The note that a leased message is to be cancelled."""
    block = (
        expect(top, subjects.thread(call))
        + headers.ROLLUP
        + lifetime(REQUESTED)
        + line(headers.CALL, identity)
    )
    return Outgoing(subjects.about(Kind.REQUEST, call), block)


def _id_line(task_id: str) -> bytes:
    return line(headers.TASK_ID, quote(task_id, safe="", errors="surrogatepass").encode())


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
