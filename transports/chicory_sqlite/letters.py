"""Dead letters: kept until they are replayed or discarded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from chicory.transport import Accepted, DeadLetter, Priority, Publication
from chicory_sqlite.publishing import publish
from chicory_sqlite.session import Session
from chicory_sqlite.statements import load

_SQL = load("letters")
_REMEMBERED_PAGES = 1000


class Kept(Struct, frozen=True):
    """A dead letter and its place in the order."""

    seq: int
    letter: DeadLetter


def put(session: Session, dead: Sequence[DeadLetter]) -> None:
    """Keep letters, at the end."""
    if dead:
        first = session.allocate(len(dead))
        session.run_all(_SQL["put"], [_row(session, *pair) for pair in enumerate(dead, first)])


def _row(session: Session, seq: int, letter: DeadLetter) -> Sequence[Any]:
    return (
        seq,
        session.ns,
        session.queue(letter.queue),
        letter.id,
        letter.task_id,
        letter.reason,
        letter.error,
        letter.retries,
        letter.failed_at,
        int(letter.priority),
        letter.error_type,
        letter.body,
    )


class Places:
    """Where the last pages ended: also when that letter was replayed or discarded since."""

    def __init__(self) -> None:
        self._ends: dict[str, int] = {}

    def note(self, page: Sequence[Kept]) -> None:
        """Remember the end of a page."""
        for kept in page[-1:]:
            self._ends.pop(kept.letter.id, None)
            self._ends[kept.letter.id] = kept.seq
        if len(self._ends) > _REMEMBERED_PAGES:
            del self._ends[next(iter(self._ends))]

    def get(self, letter_id: str) -> int | None:
        """Where a letter stood that ended a page."""
        return self._ends.get(letter_id)


def page(
    session: Session, queue: str | None, after: str | None, place: int | None, limit: int
) -> Sequence[Kept]:
    """Letters after a letter, oldest first; from the first one where it is not known."""
    if place is None and after is not None:
        place = session.value(_SQL["position"], (session.ns, after))
    if queue is None:
        rows = session.rows(_SQL["page"], (session.ns, place or 0, limit))
    else:
        rows = session.rows(_SQL["queue_page"], (session.known_queue(queue), place or 0, limit))
    return [Kept(row[0], _letter(row)) for row in rows]


def find(session: Session, letter_ids: Sequence[str]) -> Sequence[DeadLetter | None]:
    """Letters by id."""
    rows = (session.row(_SQL["find"], (session.ns, letter_id)) for letter_id in letter_ids)
    return [None if row is None else _letter(row) for row in rows]


def replay(session: Session, items: Sequence[tuple[str, Publication]]) -> Sequence[bool]:
    """Put publications on their queues in place of letters."""
    return [_replay(session, letter_id, publication) for letter_id, publication in items]


def discard(session: Session, letter_ids: Sequence[str]) -> Sequence[bool]:
    """Delete letters."""
    return [session.run(_SQL["discard"], (session.ns, letter_id)) > 0 for letter_id in letter_ids]


def _replay(session: Session, letter_id: str, publication: Publication) -> bool:
    if session.value(_SQL["position"], (session.ns, letter_id)) is None:
        return False
    # where the call is alive already the letter stays: nothing is lost
    if publish(session, [publication]) != [Accepted()]:
        return False
    return session.run(_SQL["discard"], (session.ns, letter_id)) > 0


def _letter(row: Sequence[Any]) -> DeadLetter:
    _, letter_id, queue, task_id, body, reason, error, retries, failed_at, priority, kind = row
    return DeadLetter(
        id=letter_id,
        queue=queue,
        task_id=task_id,
        body=body,
        reason=reason,
        error=error,
        retries=retries,
        failed_at=failed_at,
        priority=Priority(priority),
        error_type=kind,
    )
