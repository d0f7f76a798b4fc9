"""Queues as wholes: counted, paused, purged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from chicory.transport import Counts
from chicory_sqlite.packing import array
from chicory_sqlite.publishing import release_keys
from chicory_sqlite.session import Session
from chicory_sqlite.statements import load

_SQL = load("queues")
_MESSAGES = load("messages")
_LETTERS = load("letters")


def counts(session: Session, queues: Sequence[str] | None) -> Mapping[str, Counts]:
    """Count in one snapshot; by default every queue that holds something or is paused."""
    with session.snapshot():
        found = _count(session, queues)
    if queues is None:
        return {name: each for name, each in found.items() if each != Counts()}
    return {name: found.get(name, Counts()) for name in queues}


def _count(session: Session, queues: Sequence[str] | None) -> Mapping[str, Counts]:
    parameters = {"now": session.now(), "ns": session.ns}
    timed = {row[0]: row[1:] for row in session.rows(_SQL["timed"], parameters)}
    found: dict[str, Counts] = {}
    for number, name, paused in session.rows(_SQL["names"], (session.ns,)):
        if queues is None or name in queues:
            due, delayed, leased = timed.get(number, (0, 0, 0))
            found[name] = Counts(
                ready=session.value(_SQL["ready"], (number,)) + due,
                delayed=delayed,
                leased=leased,
                dead=session.value(_SQL["dead"], (number,)),
                paused=bool(paused),
            )
    return found


def pause(session: Session, queue: str, paused: bool) -> None:
    """Stop or resume delivery."""
    session.run(_SQL["pause"], (int(paused), session.queue(queue)))
    session.roused = not paused or session.roused


def purge(session: Session, queue: str, last: int, limit: int) -> int:
    """Delete up to ``limit`` messages that nobody holds, of those numbered up to ``last``."""
    number = session.known_queue(queue)
    rows = session.rows(_MESSAGES["purge_ready"], (number, last, limit))
    timer = {
        "ns": session.ns,
        "queue": number,
        "now": session.now(),
        "last": last,
        "limit": limit - len(rows),
    }
    rows += session.rows(_MESSAGES["purge_timer"], timer)
    session.run(_MESSAGES["delete"], (array([row[0] for row in rows]),))
    release_keys(session, [(task_id, key) for _, task_id, key in rows if key is not None])
    return len(rows)


def purge_dead(session: Session, queue: str, last: int, limit: int) -> int:
    """Delete up to ``limit`` dead letters, of those numbered up to ``last``."""
    return session.run(_LETTERS["purge"], (session.known_queue(queue), last, limit))
