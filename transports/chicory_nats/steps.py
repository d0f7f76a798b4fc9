"""What a settlement stores, in one step, and what follows it. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from chicory.transport import Dead, Done, Record, Release, Retry
from chicory_nats import outcomes
from chicory_nats.cases import Case
from chicory_nats.epitaph import letter
from chicory_nats.headers import CANCELLED, OPERATION, REPLACES, ROLLUP, expect, line
from chicory_nats.intents import Intent
from chicory_nats.messages import Content, content, guarded, message, together
from chicory_nats.notes import key_holder, mark
from chicory_nats.sequel import attach
from chicory_nats.subjects import Subjects, place_of
from chicory_nats.wire import Batch, Outgoing, Request


class Steps:
    """The steps of one namespace.

    Args:
        subjects: those of the namespace.
        keep: seconds to remember an outcome that is not a record.
    """

    def __init__(self, subjects: Subjects, keep: float) -> None:
        self._subjects = subjects
        self._keep = keep

    def step(self, case: Case, room: int) -> Request:
        """What is stored if the lease still counts; ``room``: bytes that a message may have."""
        if case.is_plain:
            return self._plain(case)
        match self._messages(case):
            case [alone]:
                return alone
            case [outcome, sequel] if not case.follow_ups:  # a record, and a retry or a letter
                whole = attach(outcome, sequel, case.ticket.body, room)
                return whole or Batch([outcome, sequel])
            case messages:
                return Batch(messages)

    def shorter(self, case: Case) -> Outgoing:
        """The outcome once more, to be kept no longer than others."""
        assert isinstance(case.settlement, Done | Dead)
        more = self._guard(case, case.outcome) + _said(case)
        return self._outcome(case, case.settlement.record, more, self._keep, instead=ROLLUP)

    def _plain(self, case: Case) -> Outgoing:
        assert isinstance(case.settlement, Done)
        assert case.settlement.record is not None
        return outcomes.plain_record(
            self._subjects, case.ticket, case.settlement.record, case.operation, self._keep
        )

    def _messages(self, case: Case) -> Sequence[Outgoing]:
        guard = self._guard(case, case.expected)
        if case.gives_back:
            return [self._given_back(case)]
        if isinstance(case.settlement, Done) and not case.follow_ups:
            return [self._outcome(case, case.settlement.record, guard + _said(case), self._keep)]
        return guarded(guard, [*self._rest(case), *self._replacement(case)])

    def _guard(self, case: Case, last: int) -> bytes:
        return expect(last, self._subjects.thread(case.ticket.place.call))

    def _given_back(self, case: Case) -> Outgoing:
        return mark(
            self._subjects,
            case.ticket,
            case.expected,
            holds=False,
            deliveries=case.ticket.deliveries - 1,
            operation=case.operation,
        )

    def _replacement(self, case: Case) -> Sequence[Outgoing]:
        """The message that the call has from now on, where it goes on."""
        settlement, ticket = case.settlement, case.ticket
        if isinstance(settlement, Release):
            return [self._later(case, settlement.not_before)]
        if isinstance(settlement, Retry):
            return [self._retry(case, settlement)]
        same = [one for one in case.follow_ups if one.place.call == ticket.place.call]
        return [message for one in same for message in self._again(case, one)]

    def _later(self, case: Case, not_before: float) -> Outgoing:
        """The message once more, for a later time."""
        ticket = case.ticket
        given = Content(ticket.task_id, ticket.body, not_before)
        return message(
            self._subjects,
            given,
            ticket.place,
            ticket.call,
            more=_replaces(case),
            deliveries=ticket.deliveries - 1,
        )

    def _retry(self, case: Case, settlement: Retry) -> Outgoing:
        wanted, more = settlement.publication, _replaces(case)
        given = content(wanted)
        if case.unwanted:
            given = replace(given, not_before=0.0)
            more += line(CANCELLED, b"1")
        place = place_of(wanted.queue, wanted.priority, wanted.task_id)
        return message(self._subjects, given, place, case.ticket.call, more=more)

    def _again(self, case: Case, wanted: Intent) -> Sequence[Outgoing]:
        """The messages of a follow-up that is the call itself once more."""
        given, more = content(wanted.publication), _replaces(case)
        again = message(self._subjects, given, wanted.place, wanted.call, more=more)
        if wanted.publication.unique is None:
            return [again]
        return [again, key_holder(self._subjects, wanted)]

    def _rest(self, case: Case) -> Sequence[Outgoing]:
        """What is stored besides."""
        settlement, subjects = case.settlement, self._subjects
        if isinstance(settlement, Release):
            return []
        rest: list[Outgoing] = []
        if settlement.record is not None or not isinstance(settlement, Retry):
            keep = self._keep if isinstance(settlement, Retry) else outcomes.LONG
            rest.append(self._outcome(case, settlement.record, _said(case), keep))
        if isinstance(settlement, Dead):
            # it takes its own place where it is stored again
            rest.append(letter(subjects, settlement.letter, more=ROLLUP))
        for one in case.follow_ups:
            if one.place.call != case.ticket.place.call:
                rest += together(subjects, one)
        return rest

    def _outcome(
        self, case: Case, given: Record | None, more: bytes, keep: float, *, instead: bytes = b""
    ) -> Outgoing:
        instead = instead or (b"" if case.is_untouched else ROLLUP)
        if given is None:
            call = case.ticket.place.call
            return outcomes.end(self._subjects, call, more=more, keep=keep, instead=instead)
        return outcomes.record(self._subjects, given, more=more, keep=keep, instead=instead)


def _said(case: Case) -> bytes:
    return outcomes.said(case.ticket.seq, case.operation, case.ticket.call)


def _replaces(case: Case) -> bytes:
    """What a message says that goes on from the one that was leased."""
    return line(OPERATION, case.operation) + line(REPLACES, case.ticket.seq)
