"""Making outcomes durable, each as one step, on condition that the lease still counts.

What a call comes to, or the message that it goes on with, is stored, and counts from then on
whoever looks; the message that was leased is acknowledged after it. It is not removed in the same
step: JetStream can only purge it then, and a purge makes its consumer forget the messages that it
was about to deliver again, those of workers that died.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from msgspec import Struct
from msgspec.structs import replace

from chicory.transport import (
    Dead,
    Done,
    Publication,
    Record,
    Release,
    Retry,
    Settled,
    Settlement,
)
from chicory_nats import composing
from chicory_nats.acks import ACK, NAK, Acks
from chicory_nats.ballast import Ballast
from chicory_nats.composing import Content, Intent, guarded, intent
from chicory_nats.epitaph import letter
from chicory_nats.headers import CANCELLED, OPERATION, REPLACES, ROLLUP, expect, line
from chicory_nats.names import HASHED
from chicory_nats.publishing import Publisher
from chicory_nats.queues import Registry
from chicory_nats.session import Session
from chicory_nats.subjects import Place, Subjects, place_of
from chicory_nats.ticket import Ticket, fresh
from chicory_nats.wire import Batch, Outgoing, Request


class _Case(Struct):
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

    async def settle(self, settlements: Sequence[Settlement]) -> Sequence[Settled]:
        """Settle; answers in the order given."""
        cases = [_case(settlement) for settlement in settlements]
        await self._registry.register(_queues(settlements))
        # what a message continues would outlive it where the one died who was to remove it
        await self._session.delete(case.ticket.replaces for case in cases if case.ticket.replaces)
        left = [case for case in cases if case.answer is None]
        while left:
            requests = [self._request(case) for case in left]
            stored = await self._ballast.send(requests)
            for case, request, seq in zip(left, requests, stored, strict=True):
                if seq:
                    case.answer = Settled.SETTLED
                    case.outcome = _outcome_of(case, request, seq)
            left = [case for case in left if case.answer is None]
            await self._look_again(left)
            left = [case for case in left if case.answer is None]
        await self._acknowledge([case for case in cases if case.answer is Settled.SETTLED])
        await self._session.shorten(self._shorter(case) for case in cases if case.outcome)
        for case in cases:
            case.ticket.step = None
        return [Settled.FENCED if case.answer is None else case.answer for case in cases]

    async def _look_again(self, cases: Sequence[_Case]) -> None:
        """Find out why guards did not hold: the lease is lost, or only something else is new."""
        if not cases:
            return
        found = await self._session.look(case.ticket.place.call for case in cases)
        for case in cases:
            thread, ticket = found[case.ticket.place.call], case.ticket
            if thread.written_by(case.operation):
                case.answer = Settled.SETTLED
            elif thread.holder != ticket.basis:
                case.answer = Settled.FENCED
                await self._session.finish([thread])
            else:
                ticket.note(thread)
                case.expected = thread.top
                case.unwanted = thread.cancelled
                case.gives_back |= case.unwanted and isinstance(case.settlement, Release)
                case.follow_ups = await self._still_wanted(case)

    async def _still_wanted(self, case: _Case) -> list[Intent]:
        """The follow-ups that are no duplicates."""
        ending = b"" if isinstance(case.settlement, Retry) else case.ticket.call
        judged = await self._publisher.judge(case.follow_ups, ending)
        pairs = zip(case.follow_ups, judged, strict=True)
        return [one for one, outcome in pairs if outcome is None]

    async def _acknowledge(self, cases: Sequence[_Case]) -> None:
        certain = await self._acks.send(
            [(case.ticket.ack, NAK if case.gives_back else ACK) for case in cases]
        )
        over = [case.ticket for case in cases if not case.gives_back]
        doomed = [ticket.basis for ticket in over if ticket.basis != ticket.seq]
        doomed += [ticket.renewal for ticket in over if ticket.renewal]
        doomed += [
            case.ticket.request
            for case in cases
            if case.ticket.request and isinstance(case.settlement, Done | Dead)
        ]
        if not certain:
            doomed += [ticket.seq for ticket in over]
        if doomed:
            await self._session.delete(doomed)

    def _shorter(self, case: _Case) -> Outgoing:
        """The outcome once more, to be kept no longer than others."""
        assert isinstance(case.settlement, Done | Dead)
        guard = expect(case.outcome, self._session.subjects.thread(case.ticket.place.call))
        more = guard + composing.said(case.ticket.seq, case.operation, case.ticket.call)
        return self._outcome(case, case.settlement.record, more, self._session.keep, replaces=True)

    def _request(self, case: _Case) -> Request:
        plain = self._plain(case)
        messages = self._messages(case) if plain is None else [plain]
        self._session.measure(messages)
        return messages[0] if len(messages) == 1 else Batch(messages)

    def _plain(self, case: _Case) -> Outgoing | None:
        """All that is stored of nearly every call: a record where there was nothing yet."""
        settlement, ticket = case.settlement, case.ticket
        if (
            not isinstance(settlement, Done)
            or settlement.record is None
            or not settlement.record.body
            or settlement.record.ttl <= 0
            or case.follow_ups
            or not _is_untouched(case)
            or ticket.place.call.startswith(HASHED)
            or settlement.record.task_id != ticket.task_id
        ):
            return None
        return composing.plain_record(
            self._session.subjects, ticket, settlement.record, case.operation, self._session.keep
        )

    def _messages(self, case: _Case) -> Sequence[Outgoing]:
        settlement, ticket, subjects = case.settlement, case.ticket, self._session.subjects
        guard = expect(case.expected, subjects.thread(ticket.place.call))
        said = composing.said(ticket.seq, case.operation, ticket.call)
        if case.gives_back:
            before = ticket.deliveries - 1
            given_back = composing.mark(
                subjects,
                ticket,
                case.expected,
                until=0,
                deliveries=before,
                operation=case.operation,
            )
            return [given_back]
        if isinstance(settlement, Done) and not case.follow_ups:
            return [self._outcome(case, settlement.record, guard + said, self._session.keep)]
        return guarded(guard, [*self._rest(case, said), *self._replacement(case)])

    def _replacement(self, case: _Case) -> Sequence[Outgoing]:
        """The message that the call has from now on, where it goes on."""
        settlement, ticket, subjects = case.settlement, case.ticket, self._session.subjects
        operation = line(OPERATION, case.operation) + line(REPLACES, ticket.seq)
        if isinstance(settlement, Release):
            given = Content(ticket.task_id, ticket.body, settlement.not_before)
            before = ticket.deliveries - 1
            return [
                composing.message(
                    subjects, given, ticket.place, ticket.call, more=operation, deliveries=before
                )
            ]
        if isinstance(settlement, Retry):
            given = composing.content(settlement.publication)
            if case.unwanted:
                given = replace(given, not_before=0.0)
                operation += line(CANCELLED, b"1")
            place = _place(settlement.publication)
            return [composing.message(subjects, given, place, ticket.call, more=operation)]
        return [
            message
            for one in case.follow_ups
            if one.place.call == ticket.place.call
            for message in _again(subjects, one, operation)
        ]

    def _rest(self, case: _Case, said: bytes) -> Sequence[Outgoing]:
        """What is stored besides."""
        settlement, ticket, subjects = case.settlement, case.ticket, self._session.subjects
        if isinstance(settlement, Release):
            return []
        rest: list[Outgoing] = []
        if settlement.record is not None or not isinstance(settlement, Retry):
            keep = self._session.keep if isinstance(settlement, Retry) else composing.LONG
            rest.append(self._outcome(case, settlement.record, said, keep))
        if isinstance(settlement, Dead):
            rest.append(letter(subjects, settlement.letter))
        for one in case.follow_ups:
            if one.place.call != ticket.place.call:
                rest += composing.published(subjects, one)
        return rest

    def _outcome(
        self,
        case: _Case,
        given: Record | None,
        more: bytes,
        keep: float,
        *,
        replaces: bool = False,
    ) -> Outgoing:
        subjects, ticket = self._session.subjects, case.ticket
        instead = ROLLUP if replaces or not _is_untouched(case) else b""
        if given is None:
            return composing.end(subjects, ticket, more=more, keep=keep, instead=instead)
        return composing.record(subjects, given, more=more, keep=keep, instead=instead)


def _outcome_of(case: _Case, request: Request, last: int) -> int:
    """Where an outcome is that is remembered longer than its record; 0: there is none."""
    settlement = case.settlement
    if not isinstance(request, Batch) or not isinstance(settlement, Done | Dead):
        return 0
    # it is the first one of the batch
    return last - len(request.messages) + 1 if composing.outlives(settlement.record) else 0


def _is_untouched(case: _Case) -> bool:
    """Whether the guard says that the message is all there is of the call: nothing to replace."""
    return case.ticket.first and case.expected == case.ticket.seq


def _again(subjects: Subjects, wanted: Intent, operation: bytes) -> Sequence[Outgoing]:
    """The messages of a follow-up that is the call itself once more."""
    given = composing.content(wanted.publication)
    again = composing.message(subjects, given, wanted.place, wanted.call, more=operation)
    if wanted.publication.unique is None:
        return [again]
    return [again, composing.key_holder(subjects, wanted)]


def _case(settlement: Settlement) -> _Case:
    ticket = settlement.receipt
    assert isinstance(ticket, Ticket)  # a receipt is opaque, and this transport gave it out
    if ticket.step is None or ticket.step[0] != settlement:
        ticket.step = settlement, fresh()
    at_once = ticket.cancelled or (
        isinstance(settlement, Release) and settlement.not_before <= time.time()
    )
    return _Case(
        settlement,
        ticket,
        ticket.step[1],
        _follow_ups(settlement, ticket),
        gives_back=at_once and isinstance(settlement, Release),
        expected=ticket.basis,
        unwanted=ticket.cancelled,
    )


def _follow_ups(settlement: Settlement, ticket: Ticket) -> list[Intent]:
    """What is published with a settlement; of several with one id or key the first."""
    if isinstance(settlement, Release) or not settlement.follow_ups:
        return []
    wanted: list[Intent] = []
    taken: set[tuple[str, object]] = set()
    if isinstance(settlement, Retry):
        taken.add(("id", ticket.task_id))
    for publication in settlement.follow_ups:
        marks: set[tuple[str, object]] = {("id", publication.task_id)}
        if publication.unique is not None:
            marks.add(("key", publication.unique.key))
        if not marks & taken:
            taken |= marks
            wanted.append(intent(publication))
    return wanted


def _queues(settlements: Sequence[Settlement]) -> Iterable[str]:
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


def _place(publication: Publication) -> Place:
    return place_of(publication.queue, publication.priority, publication.task_id)
