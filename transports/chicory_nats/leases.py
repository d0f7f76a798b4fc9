"""Extending leases: in the stream, on condition that they still count, and with JetStream."""

from __future__ import annotations

from collections.abc import Sequence

from chicory.transport import Lease
from chicory_nats.acks import PROGRESS, Acks
from chicory_nats.notes import renewal
from chicory_nats.session import Session
from chicory_nats.ticket import Ticket


class Leases:
    """Renews by batch.

    JetStream extends whatever lease there is on a message, and forgets leases when it is killed.
    What counts is the note in the stream: whoever is offered the message reads it.
    """

    def __init__(self, session: Session, acks: Acks) -> None:
        self._session = session
        self._acks = acks

    async def renew(self, tickets: Sequence[Ticket]) -> Sequence[Lease]:
        """Extend leases; answers in the order given."""
        answers: dict[Ticket, Lease] = {}
        ends = {ticket: ticket.basis for ticket in tickets}
        while ends:
            notes = [
                renewal(self._session.subjects, ticket, end, self._session.lease)
                for ticket, end in ends.items()
            ]
            stored = await self._session.insist(notes)
            for ticket, seq in zip(list(ends), stored, strict=True):
                if seq:
                    ticket.renewal = seq
                    cancelled = ticket.cancelled
                    answers[ticket] = Lease.CANCEL_REQUESTED if cancelled else Lease.HELD
            ends = await self._ends([ticket for ticket in ends if ticket not in answers])
            lost = (ticket for ticket in tickets if ticket not in answers and ticket not in ends)
            answers.update(dict.fromkeys(lost, Lease.LOST))
        held = [ticket for ticket in answers if answers[ticket] is not Lease.LOST]
        await self._acks.tell((ticket.ack, PROGRESS) for ticket in held)
        return [answers[ticket] for ticket in tickets]

    async def _ends(self, tickets: Sequence[Ticket]) -> dict[Ticket, int]:
        """Where threads end now; of those tickets only whose lease still counts."""
        leased = {ticket.place.call: ticket.basis for ticket in tickets}
        found = await self._session.threads.look_after(leased)
        ends: dict[Ticket, int] = {}
        for ticket in tickets:
            thread = found[ticket.place.call]
            if thread.holder == ticket.basis:
                ticket.cancelled = thread.cancelled
                ticket.note(thread)
                ends[ticket] = thread.top
        return ends
