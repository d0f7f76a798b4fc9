"""Records: stored, looked up, forgotten in time."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from msgspec import Struct

from chicory.transport import Record, Stage, Standing
from chicory_sqlite.session import Session
from chicory_sqlite.statements import load

_SQL = load("records")
_LEASED = load("messages")["leased"]


class Stored(Struct, frozen=True):
    """A record as it stands in the table."""

    seq: int
    task_id: str
    body: bytes


def store(session: Session, records: Sequence[Record]) -> None:
    """Store or delete records; as many that are over are deleted, so that the table stays small."""
    kept: list[tuple[int, int, float, str, bytes]] = []
    now = session.now()
    first = session.allocate(len(records)) if records else 0
    # of several records for one call the last one counts
    latest = {record.task_id: record for record in records}
    for seq, record in enumerate(latest.values(), first):
        if record.body is None or record.ttl <= 0:
            session.run(_SQL["remove"], (session.ns, record.task_id))
        else:
            kept.append((seq, session.ns, now + record.ttl, record.task_id, record.body))
    session.run_all(_SQL["put"], kept)
    prune(session, 2 * len(records))


def prune(session: Session, limit: int) -> int:
    """Delete up to that many records whose time is over."""
    return session.run(_SQL["prune"], (session.ns, session.now(), limit)) if limit else 0


def prune_locks(session: Session, limit: int) -> int:
    """Delete up to that many unique keys whose time is over."""
    return session.run(_SQL["prune_locks"], (session.ns, session.now(), limit))


def stored(session: Session, task_ids: Collection[str]) -> Sequence[Stored]:
    """The records of these calls."""
    now = session.now()
    found = ((task_id, _get(session, task_id, now)) for task_id in task_ids)
    return [Stored(row[0], task_id, row[1]) for task_id, row in found if row is not None]


def look_up(session: Session, task_ids: Sequence[str]) -> Sequence[Standing]:
    """Where calls stand."""
    now = session.now()
    return [_standing(session, task_id, now) for task_id in task_ids]


def _standing(session: Session, task_id: str, now: float) -> Standing:
    row = _get(session, task_id, now)
    record = None if row is None else row[1]
    if session.value(_LEASED, (now, session.ns, task_id)):
        return Standing(Stage.RUNNING, record)
    return Standing(Stage.WAITING if record is None else Stage.RECORDED, record)


def _get(session: Session, task_id: str, now: float) -> tuple[int, bytes] | None:
    return session.row(_SQL["get"], (session.ns, task_id, now))
