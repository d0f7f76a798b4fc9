"""Messages end: settled by who holds them, cancelled by anybody."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import cast

from msgspec.structs import replace

from chicory.transport import (
    Cancelled,
    Dead,
    Publication,
    Record,
    Release,
    Retry,
    Settled,
    Settlement,
)
from chicory_sqlite import claiming, letters, records
from chicory_sqlite.claiming import Ticket
from chicory_sqlite.packing import array
from chicory_sqlite.publishing import publish, release_keys, row
from chicory_sqlite.session import Session
from chicory_sqlite.statements import load

_SQL = load("messages")
_LEASED = 2


def settle(session: Session, settlements: Sequence[Settlement]) -> Sequence[Settled]:
    """Carry out what the holders of leases decided; answers in the order given."""
    held = claiming.held(session, [_ticket(settlement) for settlement in settlements])
    mine: list[tuple[Settlement, bool]] = []
    outcomes: list[Settled] = []
    for settlement in settlements:
        fence, cancel = held.get(_ticket(settlement).seq, (0, 0))
        if fence == _ticket(settlement).fence:
            del held[_ticket(settlement).seq]  # settled once, also within one batch
            mine.append((settlement, bool(cancel)))
            outcomes.append(Settled.SETTLED)
        else:
            outcomes.append(Settled.FENCED)
    _carry_out(session, mine)
    return outcomes


def cancel(session: Session, cancellations: Sequence[Record]) -> Sequence[Cancelled]:
    """Remove messages that nobody holds, ask for the cancellation of the others."""
    return [_cancel(session, record) for record in cancellations]


def _carry_out(session: Session, mine: Sequence[tuple[Settlement, bool]]) -> None:
    finished = [settlement for settlement, _ in mine if not isinstance(settlement, Release)]
    tickets = [_ticket(settlement) for settlement in finished]
    session.run(_SQL["delete"], (array([ticket.seq for ticket in tickets]),))
    release_keys(
        session,
        [
            (_ticket(settlement).task_id, key)
            for settlement in finished
            if not isinstance(settlement, Retry) and (key := _ticket(settlement).key) is not None
        ],
    )
    for settlement, cancel_requested in mine:
        if isinstance(settlement, Retry):
            _retry(session, settlement.publication, _ticket(settlement), cancel_requested)
        elif isinstance(settlement, Dead):
            letters.put(session, settlement.letter)
        elif isinstance(settlement, Release):
            not_before = 0.0 if cancel_requested else settlement.not_before
            _release(session, _ticket(settlement).seq, not_before)
    records.store(session, [each.record for each in finished if each.record is not None])
    publish(session, list(chain.from_iterable(each.follow_ups for each in finished)))


def _retry(
    session: Session, publication: Publication, ticket: Ticket, cancel_requested: bool
) -> None:
    seq = session.allocate(1)
    if cancel_requested:
        publication = replace(publication, not_before=0.0)
    session.insert(_SQL["insert"], [row(session, seq, publication, ticket.key)])
    if cancel_requested:
        session.run(_SQL["request_cancel"], (seq,))
    session.roused = True


def _release(session: Session, seq: int, not_before: float) -> None:
    delayed = not_before > session.now()
    session.run(_SQL["release"], (int(delayed), not_before if delayed else 0.0, seq))
    session.roused = True


def _cancel(session: Session, record: Record) -> Cancelled:
    found = session.row(_SQL["find"], (session.ns, record.task_id))
    if found is None:
        return Cancelled.ABSENT
    seq, state, due, key = found
    if state == _LEASED and due > session.now():
        session.run(_SQL["request_cancel"], (seq,))
        return Cancelled.REQUESTED
    session.run(_SQL["delete"], (array([seq]),))
    release_keys(session, [] if key is None else [(record.task_id, key)])
    records.store(session, [record])
    return Cancelled.REMOVED


def _ticket(settlement: Settlement) -> Ticket:
    # a receipt is opaque to the port, and this transport gave it out
    return cast("Ticket", settlement.receipt)
