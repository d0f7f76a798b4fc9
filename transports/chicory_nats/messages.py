"""Messages to be fetched, and what is stored with them. Pure."""

from __future__ import annotations

import time
from collections.abc import Sequence

from msgspec import Struct

from chicory.transport import Publication
from chicory_nats import headers
from chicory_nats.headers import expect, identify, lifetime, line, schedule
from chicory_nats.intents import Intent
from chicory_nats.notes import key_holder
from chicory_nats.subjects import Kind, Place, Subjects
from chicory_nats.wire import Outgoing

_SOON = 60.0
"""Seconds that what stands for nothing is there, where nobody deletes it."""


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
    block += identify(place.call, given.task_id)
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
    block = guard + headers.ROLLUP + line(headers.GONE, b"1") + lifetime(_SOON)
    return [Outgoing(subject, block), *messages]


def published(subjects: Subjects, wanted: Intent) -> Outgoing:
    """The message of a publication."""
    publication, place = wanted.publication, wanted.place
    more = expect(wanted.expected, subjects.thread(place.call))
    if not wanted.expected and not publication.not_before:
        more += line(headers.FIRST, b"1")
    return message(subjects, content(publication), place, wanted.call, more=more)


def continued(subjects: Subjects, wanted: Intent, before: int) -> Outgoing:
    """The message of a publication that takes the place of what is stored at ``before``."""
    more = expect(wanted.expected, subjects.thread(wanted.place.call))
    more += line(headers.REPLACES, before)
    return message(subjects, content(wanted.publication), wanted.place, wanted.call, more=more)


def together(subjects: Subjects, wanted: Intent) -> Sequence[Outgoing]:
    """The message of a publication, and the note that it holds its unique key, for one step."""
    stored = published(subjects, wanted)
    return [stored] if wanted.publication.unique is None else [key_holder(subjects, wanted), stored]
