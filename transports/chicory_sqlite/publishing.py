"""Messages come in: each at most once, each unique key held by at most one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from msgspec import json

from chicory.transport import Accepted, Duplicate, Publication, PublishOutcome, Unique
from chicory_sqlite.session import Session
from chicory_sqlite.statements import load

_SQL = load("messages")
_ACCEPTED = Accepted()

Row = tuple[int, int, int, int, int, float, str, str | None, bytes]


def publish(session: Session, publications: Sequence[Publication]) -> Sequence[PublishOutcome]:
    """Store what has no living duplicate; answers in the order given."""
    if not publications:
        return []
    first = session.allocate(len(publications))
    numbered = list(enumerate(publications, first))
    outcomes: list[PublishOutcome] = []
    for unique, run in groupby(numbered, key=lambda pair: pair[1].unique):
        if unique is None:
            outcomes += _publish_plain(session, list(run))
        else:
            outcomes += [_publish_unique(session, unique, *pair) for pair in run]
    session.roused = True
    return outcomes


def row(session: Session, seq: int, publication: Publication, key: str | None) -> Row:
    """A message as it is stored."""
    delayed = publication.not_before > session.now()
    return (
        seq,
        session.ns,
        session.queue(publication.queue),
        1 if delayed else 0,
        int(publication.priority),
        publication.not_before if delayed else 0.0,
        publication.task_id,
        key,
        publication.body,
    )


def release_keys(session: Session, held: Sequence[tuple[str, str]]) -> None:
    """Give up unique keys: of each (task id, key) that which the task still holds."""
    for task_id, key in held:
        session.run(_SQL["unlock"], (session.ns, key, task_id))


def _publish_plain(
    session: Session, numbered: Sequence[tuple[int, Publication]]
) -> Sequence[PublishOutcome]:
    rows = [row(session, seq, publication, None) for seq, publication in numbered]
    if session.insert(_SQL["insert"], rows) == len(rows):
        return [_ACCEPTED] * len(rows)
    span = (numbered[0][0], numbered[-1][0])
    stored = json.decode(session.value(_SQL["inserted"], span), type=frozenset[int])
    return [
        _ACCEPTED if seq in stored else Duplicate(publication.task_id)
        for seq, publication in numbered
    ]


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
