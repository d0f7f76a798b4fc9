"""Extending leases: in the stream, on condition that they still count, and with JetStream."""

from __future__ import annotations

from collections.abc import Sequence

from chicory.transport import Lease
from chicory_nats.acks import PROGRESS, Acks
from chicory_nats.ballast import Ballast
from chicory_nats.composing import renewal
from chicory_nats.session import Session
from chicory_nats.ticket import Ticket


class Leases:
    """Renews by batch.

    JetStream extends whatever lease there is on a message, and forgets leases when it is killed.
    What counts is the note in the stream: whoever is offered the message reads it.
    """

    def __init__(self, session: Session, acks: Acks, ballast: Ballast) -> None:
        self._session = session
        self._ballast = ballast
        self._acks = acks

    async def renew(self, tickets: Sequence[Ticket]) -> Sequence[Lease]:
        """Extend leases; answers in the order given."""
        answers: dict[Ticket, Lease] = {}
        left = list(dict.fromkeys(tickets))
        while left:
            notes = [renewal(self._session.subjects, one, self._session.lease) for one in left]
            for ticket, seq in zip(left, await self._ballast.send(notes), strict=True):
                if seq:
                    ticket.top = seq
                    cancelled = ticket.cancelled
                    answers[ticket] = Lease.CANCEL_REQUESTED if cancelled else Lease.HELD
            left = [ticket for ticket in left if ticket not in answers]
            left = await self._look_again(left, answers)
        held = [ticket for ticket in answers if answers[ticket] is not Lease.LOST]
        await self._acks.tell((ticket.ack, PROGRESS) for ticket in held)
        return [answers[ticket] for ticket in tickets]

    async def _look_again(
        self, tickets: Sequence[Ticket], answers: dict[Ticket, Lease]
    ) -> list[Ticket]:
        """Those whose lease still counts, though something else is new."""
        found = await self._session.look(ticket.place.call for ticket in tickets)
        still: list[Ticket] = []
        for ticket in tickets:
            thread = found[ticket.place.call]
            if thread.holder == ticket.basis:
                ticket.top, ticket.cancelled = thread.top, thread.cancelled
                still.append(ticket)
            else:
                answers[ticket] = Lease.LOST
        return still
