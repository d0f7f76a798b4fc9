"""Messages go out: what is due becomes ready, what is ready is leased."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import TypeAlias

from msgspec import Struct, json

from chicory.transport import Delivery, Lease, Priority
from chicory_sqlite.packing import INLINE, array
from chicory_sqlite.session import Session
from chicory_sqlite.statements import load
from chicory_sqlite.writer import WRITE, Undecided

_SQL = load("messages")

_PROMOTED = 10_000
"""Messages made ready by one fetch at most: bounds the transaction after a long standstill."""

_AT_ONCE = 1024

_Ready: TypeAlias = tuple[int, int, int, int, str, str | None, int, str | None]


class Ticket(Struct, frozen=True):
    """A receipt: the message, the claim, and what settling has to release."""

    seq: int
    fence: int
    task_id: str
    key: str | None


class Catch(Struct, frozen=True):
    """What a fetch got, and when something becomes ready by itself if nobody publishes."""

    deliveries: Sequence[Delivery] = ()
    due: float = math.inf


def glance(session: Session, queues: Sequence[str], limit: int) -> Catch | Undecided:
    """Say by reading alone that there is nothing to fetch."""
    served, due = _glance(session, _known(session, queues).values())
    if limit > 0 and (served or due <= session.now()):
        return WRITE
    return Catch(due=due)


def claim(session: Session, queues: Sequence[str], limit: int) -> Catch:
    """Lease up to ``limit`` messages."""
    _promote(session)
    served, due = _serveable(session, queues)
    deliveries: list[Delivery] = []
    for name, number in served:
        while len(deliveries) < limit:
            wanted = min(limit - len(deliveries), _AT_ONCE)
            claimed = _claim_from(session, name, number, wanted)
            deliveries += claimed
            if len(claimed) < wanted:
                break
    return Catch(deliveries, due)


def renew(session: Session, tickets: Sequence[Ticket]) -> Sequence[Lease]:
    """Extend what is still held."""
    fences = held(session, tickets)
    mine = [ticket.seq for ticket in tickets if fences.get(ticket.seq, (0, 0))[0] == ticket.fence]
    session.run(_SQL["renew"], {"due": session.now() + session.lease, "seqs": array(mine)})
    return [_standing(ticket, fences.get(ticket.seq)) for ticket in tickets]


def held(session: Session, tickets: Sequence[Ticket]) -> dict[int, tuple[int, int]]:
    """Fence and wish to cancel of each message that is still there."""
    found = session.value(_SQL["fences"], (array([ticket.seq for ticket in tickets]),))
    rows = json.decode(found, type=list[tuple[int, int, int]])
    return {seq: (fence, cancel) for seq, fence, cancel in rows}


def _standing(ticket: Ticket, found: tuple[int, int] | None) -> Lease:
    if found is None or found[0] != ticket.fence:
        return Lease.LOST
    return Lease.CANCEL_REQUESTED if found[1] else Lease.HELD


def _promote(session: Session) -> None:
    parameters = {"ns": session.ns, "now": session.now(), "limit": _PROMOTED}
    session.run(_SQL["promote"], parameters)


def _serveable(session: Session, queues: Sequence[str]) -> tuple[Sequence[tuple[str, int]], float]:
    """The queues that have something, in the order given; when the next one will have."""
    numbers = _known(session, queues)
    served, due = _glance(session, numbers.values())
    return [(name, number) for name, number in numbers.items() if number in served], due


def _known(session: Session, queues: Sequence[str]) -> dict[str, int]:
    pairs = ((name, session.known_queue(name)) for name in queues)
    return {name: number for name, number in pairs if number is not None}


def _glance(session: Session, numbers: Collection[int]) -> tuple[frozenset[int], float]:
    parameters = {"queues": array(list(numbers)), "ns": session.ns}
    served, due = session.row(_SQL["glance"], parameters)
    return json.decode(served, type=frozenset[int]), math.inf if due is None else due


def _claim_from(session: Session, name: str, number: int, limit: int) -> Sequence[Delivery]:
    ready = _ready(session, number, limit)
    if ready:
        due = session.now() + session.lease
        session.run(_SQL["claim"], {"due": due, "seqs": array([row[0] for row in ready])})
    return [_delivery(session, name, row) for row in ready]


def _ready(session: Session, number: int, limit: int) -> Sequence[_Ready]:
    found = session.value(_SQL["ready"], {"queue": number, "limit": limit, "inline": INLINE})
    return json.decode(found, type=list[_Ready])


def _delivery(session: Session, name: str, row: _Ready) -> Delivery:
    seq, priority, deliveries, fence, task_id, key, cancel, body = row
    return Delivery(
        queue=name,
        task_id=task_id,
        body=session.value(_SQL["body"], (seq,)) if body is None else bytes.fromhex(body),
        priority=Priority(priority),
        deliveries=deliveries,
        receipt=Ticket(seq, fence, task_id, key),
        cancel_requested=bool(cancel),
    )
