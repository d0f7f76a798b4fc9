"""Making outcomes durable, each as one step, on condition that the lease still counts.

What a call comes to, or the message that it goes on with, is stored, and counts from then on
whoever looks; then what the outcome says that follows it, a retry or a dead letter; then the
message that was leased is acknowledged. It is not removed in the same step: JetStream can only
purge it then, and a purge makes its consumer forget the messages that it was about to deliver
again, those of workers that died.
"""

from __future__ import annotations

from collections.abc import Sequence

from chicory.transport import Dead, Done, Release, Retry, Settled, Settlement
from chicory_nats import outcomes
from chicory_nats.acks import ACK, NAK, Acks
from chicory_nats.ballast import Ballast
from chicory_nats.cases import Case, case, queues
from chicory_nats.intents import Intent
from chicory_nats.publishing import Publisher
from chicory_nats.queues import Registry
from chicory_nats.sequel import Preface, Sequel
from chicory_nats.session import Session
from chicory_nats.steps import Steps
from chicory_nats.thread import Thread
from chicory_nats.wire import Batch, messages


class Settler:
    """Settles by batch."""

    def __init__(
        self,
        session: Session,
        acks: Acks,
        publisher: Publisher,
        registry: Registry,
        ballast: Ballast,
    ) -> None:
        self._session = session
        self._ballast = ballast
        self._acks = acks
        self._publisher = publisher
        self._registry = registry
        self._steps = Steps(session.subjects, session.keep)

    async def settle(self, settlements: Sequence[Settlement]) -> Sequence[Settled]:
        """Settle; answers in the order given."""
        cases = [case(settlement) for settlement in settlements]
        await self._registry.register(queues(settlements), self._session.insist)
        # what a message continues would outlive it where the one died who was to remove it
        await self._session.delete([one.ticket.replaces for one in cases if one.ticket.replaces])
        while left := [one for one in cases if one.answer is None]:
            await self._look_again(await self._store(left))
        await self._acknowledge([one for one in cases if one.answer is Settled.SETTLED])
        await self._session.shorten(self._steps.shorter(one) for one in cases if one.outcome)
        for one in cases:
            one.ticket.end()
        return [Settled.FENCED if one.answer is None else one.answer for one in cases]

    async def _store(self, cases: list[Case]) -> list[Case]:
        """Store outcomes; those whose guard did not hold."""
        room = self._session.connection.max_payload
        requests = [self._steps.step(one, room) for one in cases]
        await self._ballast.cover(self._session.measure(requests))
        stored = await self._session.insist(requests)
        begun: list[tuple[Case, Sequel]] = []
        for one, request, seq in zip(cases, requests, stored, strict=True):
            if not seq:
                continue
            one.answer = Settled.SETTLED
            if isinstance(request, Batch | Preface):
                one.outcome = _outcome_of(one, request, seq)
            if isinstance(request, Preface):
                begun.append((one, Sequel(one.ticket.place.call, seq, request.message)))
            else:
                _remember(one)
        if begun:
            await self._follow(begun)
        return [one for one in cases if one.answer is None]

    async def _follow(self, begun: Sequence[tuple[Case, Sequel]]) -> None:
        """Store what follows outcomes, unless somebody did who looked at them."""
        subjects = self._session.subjects
        await self._session.insist([sequel.request(subjects) for _, sequel in begun])
        for one, _ in begun:
            _remember(one)

    async def _look_again(self, cases: Sequence[Case]) -> None:
        """Find out why guards did not hold: the lease is lost, or only something else is new."""
        if not cases:
            return
        leased = {one.ticket.place.call: one.ticket.basis for one in cases}
        found = await self._session.threads.look_after(leased)
        for one in cases:
            thread = found[one.ticket.place.call]
            if thread.written_by(one.operation):
                one.answer = Settled.SETTLED
            elif thread.holder != one.ticket.basis:
                one.answer = Settled.FENCED
                await self._session.finish([thread])
            else:
                await self._renew_guard(one, thread)

    async def _renew_guard(self, one: Case, thread: Thread) -> None:
        one.ticket.note(thread)
        one.expected = thread.top
        one.unwanted = thread.cancelled
        one.gives_back |= one.unwanted and isinstance(one.settlement, Release)
        one.follow_ups = await self._still_wanted(one)

    async def _still_wanted(self, one: Case) -> list[Intent]:
        """The follow-ups that are no duplicates."""
        ending = b"" if isinstance(one.settlement, Retry) else one.ticket.call
        judged = await self._publisher.judge(one.follow_ups, ending)
        pairs = zip(one.follow_ups, judged, strict=True)
        return [wanted for wanted, outcome in pairs if outcome is None]

    async def _acknowledge(self, cases: Sequence[Case]) -> None:
        words = [(one.ticket.ack, NAK if one.gives_back else ACK) for one in cases]
        certain = await self._acks.send(words)
        doomed = [seq for one in cases for seq in one.remains]
        if not certain:
            doomed += [one.ticket.seq for one in cases if not one.gives_back]
        await self._session.delete(doomed)


def _remember(one: Case) -> None:
    """Its outcome may be forgotten by when this is sent again."""
    one.ticket.stored = one.outcome


def _outcome_of(one: Case, request: Batch | Preface, last: int) -> int:
    """Where an outcome is that is remembered longer than its record; 0: there is none."""
    settlement = one.settlement
    if not isinstance(settlement, Done | Dead) or not outcomes.outlives(settlement.record):
        return 0
    return last - len(messages(request)) + 1  # it is the first one of a batch
