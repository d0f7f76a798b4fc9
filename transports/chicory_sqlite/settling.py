"""Messages end: settled by who holds them, cancelled by anybody."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import cast

from msgspec import json
from msgspec.structs import replace

from chicory.transport import (
    Cancelled,
    Dead,
    Record,
    Release,
    Retry,
    Settled,
    Settlement,
)
from chicory_sqlite import claiming, letters, records
from chicory_sqlite.claiming import Ticket
from chicory_sqlite.packing import array
from chicory_sqlite.publishing import Row, publish, release_keys, row
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
    _retry(session, [(one, cancel) for one, cancel in mine if isinstance(one, Retry)])
    letters.put(session, [one.letter for one in finished if isinstance(one, Dead)])
    _release(session, [(one, cancel) for one, cancel in mine if isinstance(one, Release)])
    records.store(session, [each.record for each in finished if each.record is not None])
    publish(session, list(chain.from_iterable(each.follow_ups for each in finished)))


def _retry(session: Session, retries: Sequence[tuple[Retry, bool]]) -> None:
    if not retries:
        return
    rows: list[Row] = []
    cancelled: list[int] = []
    for seq, (settlement, cancel) in enumerate(retries, session.allocate(len(retries))):
        publication = settlement.publication
        if cancel:
            publication = replace(publication, not_before=0.0)
            cancelled.append(seq)
        rows.append(row(session, seq, publication, _ticket(settlement).key))
    session.run_all(_SQL["insert"], rows)
    if cancelled:
        session.run(_SQL["request_cancel"], (array(cancelled),))
    session.roused = True


def _release(session: Session, releases: Sequence[tuple[Release, bool]]) -> None:
    if not releases:
        return
    now = session.now()
    later = {
        _ticket(release).seq: release.not_before
        for release, cancel in releases
        if release.not_before > now and not cancel
    }
    at_once = [seq for release, _ in releases if (seq := _ticket(release).seq) not in later]
    if at_once:
        session.run(_SQL["release"], (array(at_once),))
    if later:
        session.run(_SQL["release_until"], {"dues": json.encode(later).decode()})
    session.roused = True


def _cancel(session: Session, record: Record) -> Cancelled:
    found = session.row(_SQL["find"], (session.ns, record.task_id))
    if found is None:
        return Cancelled.ABSENT
    seq, state, due, key = found
    if state == _LEASED and due > session.now():
        session.run(_SQL["request_cancel"], (array([seq]),))
        return Cancelled.REQUESTED
    session.run(_SQL["delete"], (array([seq]),))
    release_keys(session, [] if key is None else [(record.task_id, key)])
    records.store(session, [record])
    return Cancelled.REMOVED


def _ticket(settlement: Settlement) -> Ticket:
    # a receipt is opaque to the port, and this transport gave it out
    return cast("Ticket", settlement.receipt)
