"""Putting messages on queues."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from chicory.transport import Accepted, Duplicate, Publication, PublishOutcome
from chicory_redis import times
from chicory_redis.server import Server

_MOST = 256
_LARGEST = 1 << 20
"""Messages, and bytes, of one step: more would make other clients of the server wait."""
_ACCEPTED = Accepted()


async def publish(server: Server, publications: Sequence[Publication]) -> list[PublishOutcome]:
    """Store messages in batches, each message in an atomic step."""
    outcomes: list[PublishOutcome] = []
    for batch in _batches(publications):
        arguments = [argument for one in batch for argument in encode(one)]
        answers = await server.run_once("publish", *arguments)
        outcomes += [Duplicate(other.decode()) if other else _ACCEPTED for other in answers]
    return outcomes


def encode(publication: Publication) -> tuple[Any, ...]:
    """A message as the scripts take it."""
    unique = publication.unique
    return (
        publication.queue,
        publication.task_id,
        int(publication.priority),
        times.due(publication.not_before),
        unique.key if unique else "",
        times.span(unique.ttl) if unique else 0,
        publication.body,
    )


def _batches(publications: Sequence[Publication]) -> Iterator[Sequence[Publication]]:
    start, size = 0, 0
    for number, publication in enumerate(publications):
        size += len(publication.body)
        if number > start and (number - start == _MOST or size > _LARGEST):
            yield publications[start:number]
            start, size = number, len(publication.body)
    if start < len(publications):
        yield publications[start:]
