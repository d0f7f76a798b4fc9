"""Deliveries, as the server's answers and messages have them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

from msgspec import Struct

from chicory.transport import Delivery, Priority
from chicory_redis.receipts import Ticket

_PRIORITIES = {int(priority): priority for priority in Priority}


class HandOver(Struct, frozen=True):
    """A message that was leased in the name of a fetch that waits (see ``scripts/hand.lua``).

    Attributes:
        number: of the fetch.
        at: when it was leased, in ms of the server's clock.
        delivery: the message.
    """

    number: bytes
    at: int
    delivery: Delivery


def fetched(queues: Sequence[str], consumer: str, answer: Sequence[Any]) -> list[Delivery]:
    """What the groups of a fetch's answer are."""
    deliveries: list[Delivery] = []
    number: int
    p: int
    for start in range(0, len(answer), 4):
        number, p, entries, counters = answer[start : start + 4]
        for entry, counter in zip(entries, counters or [1] * len(entries), strict=True):
            deliveries.append(delivery(queues[number], p, consumer, entry, counter))
    return deliveries


def handed_over(message: bytes, consumer: str) -> HandOver:
    """What a message to a waiting fetch says."""
    head, _, rest = message.partition(b"\n")
    number, p, at, name, *lengths = head[1:].split(b" ")
    ends = accumulate(map(int, lengths), initial=0)
    parts = [rest[start:end] for start, end in pairwise(ends)]
    entry = (name, parts[1:])
    return HandOver(number, int(at), delivery(parts[0].decode(), int(p), consumer, entry, 1))


def delivery(queue: str, p: int, consumer: str, entry: Sequence[Any], counter: int) -> Delivery:
    """An entry of a stream, leased."""
    name, fields = entry
    task_id = fields[1].decode()
    unwanted = False
    if len(fields) == 4:  # noqa: PLR2004  (id and body)
        ticket = Ticket(queue, p, name, counter, consumer, task_id)
    else:
        more = dict(zip(fields[4::2], fields[5::2], strict=True))
        key, before = more.get(b"k", b"").decode(), int(more.get(b"n", 0))
        ticket = Ticket(queue, p, name, counter, consumer, task_id, key, before)
        unwanted = b"c" in more
    return Delivery(queue, task_id, fields[3], _PRIORITIES[p], ticket.deliveries, ticket, unwanted)
