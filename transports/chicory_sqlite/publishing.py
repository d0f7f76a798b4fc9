"""Messages come in: each at most once, each unique key held by at most one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from operator import attrgetter

from msgspec import json

from chicory.transport import Accepted, Duplicate, Publication, PublishOutcome, Unique
from chicory_sqlite.packing import are_ids, pack
from chicory_sqlite.session import Session
from chicory_sqlite.statements import load

_SQL = load("messages")
_ACCEPTED = Accepted()
_FEW = 16
"""Messages that are not worth packing."""
_UNIQUE = attrgetter("unique")
_KIND = attrgetter("queue", "priority", "not_before")

Row = tuple[int, int, int, int, int, float, str, str | None, bytes]


def publish(session: Session, publications: Sequence[Publication]) -> Sequence[PublishOutcome]:
    """Store what has no living duplicate; answers in the order given."""
    if not publications:
        return []
    first = session.allocate(len(publications))
    outcomes: list[PublishOutcome] = []
    for unique, run in groupby(publications, key=_UNIQUE):
        seq = first + len(outcomes)
        if unique is None:
            outcomes += _publish_plain(session, seq, list(run))
        else:
            outcomes += [_publish_unique(session, unique, *pair) for pair in enumerate(run, seq)]
    session.roused = True
    return outcomes


def row(session: Session, seq: int, publication: Publication, key: str | None) -> Row:
    """A message as it is stored."""
    ns, queue, state, priority, due = _standing(session, publication)
    return (seq, ns, queue, state, priority, due, publication.task_id, key, publication.body)


def _standing(session: Session, publication: Publication) -> tuple[int, int, int, int, float]:
    """The columns of a message that others may have in common with it."""
    due = publication.not_before
    delayed = due > 0 and due > session.now()
    return (
        session.ns,
        session.queue(publication.queue),
        1 if delayed else 0,
        int(publication.priority),
        due if delayed else 0.0,
    )


def release_keys(session: Session, held: Sequence[tuple[str, str]]) -> None:
    """Give up unique keys: of each (task id, key) that which the task still holds."""
    for task_id, key in held:
        session.run(_SQL["unlock"], (session.ns, key, task_id))


def _publish_plain(
    session: Session, first: int, publications: Sequence[Publication]
) -> Sequence[PublishOutcome]:
    if _insert(session, first, publications) == len(publications):
        return [_ACCEPTED] * len(publications)
    span = (first, first + len(publications) - 1)
    stored = json.decode(session.value(_SQL["inserted"], span), type=frozenset[int])
    return [
        _ACCEPTED if seq in stored else Duplicate(publication.task_id)
        for seq, publication in enumerate(publications, first)
    ]


def _insert(session: Session, first: int, publications: Sequence[Publication]) -> int:
    """Store them; how many were. Calls of one task, as most are, are alike."""
    if len(set(map(_KIND, publications))) > 1:
        rows = [row(session, *pair, None) for pair in enumerate(publications, first)]
        return session.insert(_SQL["insert"], rows)
    common = _standing(session, publications[0])
    task_ids = [each.task_id for each in publications]
    if len(task_ids) >= _FEW and are_ids(task_ids):
        packed = pack(task_ids, [each.body for each in publications])
        return session.run(_SQL["insert_packed"], (first, *packed, *common))
    own = [(seq, each.task_id, each.body) for seq, each in enumerate(publications, first)]
    return session.insert(_SQL["insert_alike"], own, common)


def _publish_unique(
    session: Session, unique: Unique, seq: int, publication: Publication
) -> PublishOutcome:
    if session.value(_SQL["is_live"], (session.ns, publication.task_id)):
        return Duplicate(publication.task_id)
    now = session.now()
    holder = session.value(_SQL["holder"], (session.ns, unique.key, now))
    if holder is not None:
        return Duplicate(holder)
    session.insert(_SQL["insert"], [row(session, seq, publication, unique.key)])
    session.run(_SQL["lock"], (session.ns, unique.key, publication.task_id, now + unique.ttl))
    return _ACCEPTED
