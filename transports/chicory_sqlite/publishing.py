"""Messages come in: each at most once, each unique key held by at most one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from operator import attrgetter

from msgspec import json

from chicory.transport import Accepted, Duplicate, Publication, PublishOutcome, Unique
from chicory_sqlite.packing import Parcel, are_alike, parcel
from chicory_sqlite.session import Session
from chicory_sqlite.statements import load

_SQL = load("messages")
_ACCEPTED = Accepted()
_UNIQUE = attrgetter("unique")

Row = tuple[int, int, int, int, int, float, str, str | None, bytes]


def publish(
    session: Session, publications: Sequence[Publication], packed: Parcel | None = None
) -> Sequence[PublishOutcome]:
    """Store what has no living duplicate; answers in the order given.

    ``packed``: the same as a parcel, where they make one.
    """
    if not publications:
        return []
    first = session.allocate(len(publications))
    session.roused = True
    if packed is not None:
        number = _insert_packed(session, first, packed, publications[0])
        return _outcomes(session, first, publications, number)
    outcomes: list[PublishOutcome] = []
    for unique, run in groupby(publications, key=_UNIQUE):
        seq = first + len(outcomes)
        if unique is None:
            plain = list(run)
            outcomes += _outcomes(session, seq, plain, _insert(session, seq, plain))
        else:
            outcomes += [_publish_unique(session, unique, *pair) for pair in enumerate(run, seq)]
    return outcomes


def put(
    session: Session, packed: Parcel, publications: Sequence[Publication]
) -> Sequence[PublishOutcome] | None:
    """The same of a parcel in one statement, outside of a transaction: it is one by itself.

    ``None``: the queue has no number yet. Raises ``sqlite3.IntegrityError`` where an id is taken;
    nothing is stored then.
    """
    if session.known_queue(publications[0].queue) is None:
        return None
    session.run(_SQL["put"], (*packed, *_standing(session, publications[0])))
    return [_ACCEPTED] * len(publications)


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
    session.run_all(_SQL["unlock"], [(key, task_id) for task_id, key in held], (session.ns,))


def _outcomes(
    session: Session, first: int, publications: Sequence[Publication], inserted: int
) -> Sequence[PublishOutcome]:
    """What became of messages of which so many were inserted."""
    if inserted == len(publications):
        return [_ACCEPTED] * len(publications)
    span = (first, first + len(publications) - 1)
    stored = json.decode(session.value(_SQL["inserted"], span), type=frozenset[int])
    return [
        _ACCEPTED if seq in stored else Duplicate(publication.task_id)
        for seq, publication in enumerate(publications, first)
    ]


def _insert(session: Session, first: int, publications: Sequence[Publication]) -> int:
    """Store them; how many were. Calls of one task, as most are, are alike."""
    if packed := parcel(publications):
        return _insert_packed(session, first, packed, publications[0])
    if not are_alike(publications):
        rows = [row(session, *pair, None) for pair in enumerate(publications, first)]
        return session.run_all(_SQL["insert"], rows)
    own = [(seq, each.task_id, each.body) for seq, each in enumerate(publications, first)]
    return session.run_all(_SQL["insert_alike"], own, _standing(session, publications[0]))


def _insert_packed(session: Session, first: int, packed: Parcel, one: Publication) -> int:
    _, *columns = packed
    return session.run(_SQL["insert_packed"], (first, *columns, *_standing(session, one)))


def _publish_unique(
    session: Session, unique: Unique, seq: int, publication: Publication
) -> PublishOutcome:
    if session.value(_SQL["is_live"], (session.ns, publication.task_id)):
        return Duplicate(publication.task_id)
    now = session.now()
    holder = session.value(_SQL["holder"], (session.ns, unique.key, now))
    if holder is not None:
        return Duplicate(holder)
    session.run_all(_SQL["insert"], [row(session, seq, publication, unique.key)])
    session.run(_SQL["lock"], (session.ns, unique.key, publication.task_id, now + unique.ttl))
    return _ACCEPTED
