"""Settlements and cancellations, as the scripts take them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis.exceptions import ResponseError

from chicory.transport import (
    Cancelled,
    Dead,
    Done,
    Record,
    Release,
    Retry,
    Settled,
    Settlement,
)
from chicory_redis import letters, times
from chicory_redis.publishing import encode
from chicory_redis.receipts import SERIES, Ticket
from chicory_redis.server import Server
from chicory_redis.translation import translated

_MOST = 128
"""Settlements of one step: more would make other clients of the server wait."""
_ANSWERS = (Settled.FENCED, Settled.SETTLED)
_CANCELLED = (Cancelled.ABSENT, Cancelled.REMOVED, Cancelled.REQUESTED)
_NO_RECORD = ("", "")


async def settle(server: Server, settlements: Sequence[Settlement]) -> list[Settled]:
    """Make outcomes durable in batches, each one in an atomic step.

    Where the server refuses one the others are done all the same, and then its error is raised.
    """
    answers: list[Any] = []
    for start in range(0, len(settlements), _MOST):
        answers += await _settle(server, settlements[start : start + _MOST])
    for answer in answers:
        if isinstance(answer, bytes):
            error = ResponseError(answer.decode(errors="replace"))
            raise translated(error, server.address)
    return [_ANSWERS[answer] for answer in answers]


async def _settle(server: Server, settlements: Sequence[Settlement]) -> list[Any]:
    queues: dict[str, int] = {}
    arguments = _encode(settlements, queues)
    ticket = settlements[0].receipt
    assert isinstance(ticket, Ticket)
    head = (ticket.consumer, len(settlements), len(queues), *queues)
    return await server.run_once("settle", *head, *arguments, resumes=True)


def _encode(settlements: Sequence[Settlement], queues: dict[str, int]) -> list[Any]:
    """As the script takes them; ``queues`` gets the numbers of theirs."""
    arguments: list[Any] = []
    run, length_at = None, 0
    for settlement in settlements:
        ticket = settlement.receipt
        assert isinstance(ticket, Ticket)
        number = queues.setdefault(ticket.queue, len(queues))
        if type(settlement) is Done and not ticket.key and not settlement.follow_ups:
            ttl, record = encode_record(settlement.record)
            head = (ticket.priority, number, ticket.counter, ttl)
            if head != run:  # for most of a batch it is the same
                run, length_at = head, len(arguments) + 5
                arguments += ("d", *head, 0)
            arguments[length_at] += 1
            arguments += (ticket.entry, ticket.task_id, record)
        else:
            run = None
            arguments += _encode_whole(settlement, ticket, number)
    return arguments


def _encode_whole(settlement: Settlement, ticket: Ticket, number: int) -> list[Any]:
    is_release = isinstance(settlement, Release)
    ttl, record = _NO_RECORD if is_release else encode_record(settlement.record)
    follow_ups = () if is_release else settlement.follow_ups
    kind, particulars = _particulars(settlement, ticket)
    arguments = [kind, ticket.priority, number, ticket.counter, ttl]
    arguments += (ticket.entry, ticket.task_id, record)
    arguments += (ticket.key, len(follow_ups), len(particulars), *particulars)
    for publication in follow_ups:
        arguments += encode(publication)
    return arguments


def _particulars(settlement: Settlement, ticket: Ticket) -> tuple[str, tuple[Any, ...]]:
    match settlement:
        case Done():
            return "D", ()
        case Retry(publication=again):
            return "R", (again.queue, int(again.priority), times.due(again.not_before), again.body)
        case Dead(letter=letter):
            return "L", (letter.id, letter.queue, letters.pack(letter))
        case Release():
            kept = ticket.before + ticket.counter % SERIES - 1
            return "B", (times.due(settlement.not_before), kept)


def encode_record(record: Record | None) -> tuple[Any, Any]:
    """A record's ttl and body."""
    if record is None:
        return _NO_RECORD
    if record.body is None:
        return "-", ""
    return times.span(record.ttl), record.body


async def cancel(server: Server, records: Sequence[Record]) -> list[Cancelled]:
    """Cancel calls, each one in an atomic step."""
    answers: list[Cancelled] = []
    for start in range(0, len(records), _MOST):
        arguments: list[Any] = []
        for record in records[start : start + _MOST]:
            arguments += (record.task_id, *encode_record(record))
        found = await server.run_once("cancel", *arguments)
        answers += [_CANCELLED[answer] for answer in found]
    return answers
