"""Settlements on their way. Pure."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from msgspec import Struct

from chicory.transport import Dead, Done, Publication, Release, Retry, Settled, Settlement
from chicory_nats.intents import Intent, intent, marks
from chicory_nats.names import HASHED
from chicory_nats.ticket import Ticket


class Case(Struct):
    """A settlement on its way.

    Attributes:
        settlement: what is wanted.
        ticket: the lease.
        operation: identity of this step.
        follow_ups: what is published with it; fewer where some are duplicates.
        gives_back: it is a release that takes effect at once.
        expected: where the thread of the call has to end.
        unwanted: the call is to be cancelled, so that what comes after it does not wait.
        outcome: where its outcome was stored, if that is remembered for longer than need be.
        answer: once it is known.
    """

    settlement: Settlement
    ticket: Ticket
    operation: bytes
    follow_ups: list[Intent]
    gives_back: bool
    expected: int
    unwanted: bool = False
    outcome: int = 0
    answer: Settled | None = None

    @property
    def is_untouched(self) -> bool:
        """Whether the guard says that the message is all there is of the call."""
        return self.ticket.first and self.expected == self.ticket.seq

    @property
    def is_plain(self) -> bool:
        """Whether all that is stored is a record, where there was none, as of nearly every call."""
        settlement = self.settlement
        if not isinstance(settlement, Done) or self.follow_ups or not self.is_untouched:
            return False
        record, ticket = settlement.record, self.ticket
        return (
            record is not None
            and bool(record.body)
            and record.ttl > 0
            and record.task_id == ticket.task_id
            and not ticket.place.call.startswith(HASHED)
        )

    @property
    def remains(self) -> Iterable[int]:
        """What is to be deleted once it is settled, beside the message."""
        ticket = self.ticket
        if self.gives_back:
            return
        if ticket.basis != ticket.seq:
            yield ticket.basis
        if ticket.renewal:
            yield ticket.renewal
        if ticket.request and isinstance(self.settlement, Done | Dead):
            yield ticket.request


def case(settlement: Settlement) -> Case:
    """What becomes of a settlement; one that is sent again is the same step."""
    ticket = settlement.receipt
    assert isinstance(ticket, Ticket)  # a receipt is opaque, and this transport gave it out
    operation = ticket.begin(settlement)
    releases = isinstance(settlement, Release)
    return Case(
        settlement,
        ticket,
        operation,
        _follow_ups(settlement, ticket),
        gives_back=releases and (ticket.cancelled or settlement.not_before <= time.time()),
        expected=ticket.basis,
        unwanted=ticket.cancelled,
        outcome=ticket.stored or 0,
        answer=None if ticket.stored is None else Settled.SETTLED,
    )


def queues(settlements: Iterable[Settlement]) -> Iterable[str]:
    """The queues that settlements put something on."""
    for settlement in settlements:
        if isinstance(settlement, Release):
            continue
        if settlement.follow_ups:
            yield from (one.queue for one in settlement.follow_ups)
        if isinstance(settlement, Retry):
            yield settlement.publication.queue
        elif isinstance(settlement, Dead):
            yield settlement.letter.queue


def _follow_ups(settlement: Settlement, ticket: Ticket) -> list[Intent]:
    """What is published with a settlement; of several with one id or key the first."""
    if isinstance(settlement, Release) or not settlement.follow_ups:
        return []
    taken: set[object] = {ticket.task_id} if isinstance(settlement, Retry) else set()
    return [intent(one) for one in _first_each(settlement.follow_ups, taken)]


def _first_each(publications: Sequence[Publication], taken: set[object]) -> Iterable[Publication]:
    for publication in publications:
        own = marks(publication)
        if taken.isdisjoint(own):
            taken.update(own)
            yield publication
