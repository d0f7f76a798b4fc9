"""Dead letters as users see them, and how one becomes a message again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import TypeAlias

from msgspec import Struct

from chicory import message as messages
from chicory.errors import ChicoryError, MessageError
from chicory.message import Envelope, PastFailure, TaskMessage
from chicory.seal import Seal, unsealed
from chicory.transport import DeadLetter, Publication, Record, Transport, Unique

PAGE = 100
"""Letters that are looked at in one round trip."""
MAX_BYTES = 1 << 20
"""Of the messages that are put in place of letters in one step, where they are more than one."""
Exchange: TypeAlias = tuple[DeadLetter, Publication]
"""A letter, and the message to put in its place."""


class DLQMessage(Struct, frozen=True):
    """A dead letter.

    Attributes:
        message_id: what replay and delete take.
        original_message: the message, ``None`` where its bytes cannot be decoded.
        failed_at: when it was given up.
        error: the message of the last exception.
        retry_count: retries made.
        reason: one word for why; see ``chicory.outcome.DeathReason``.
        queue: where it was.
        body: the bytes as they were fetched.
        failures: what each attempt failed of, oldest first; of many the first and the latest.
        error_type: the class of the last exception, with its module; empty where there was none,
            or where the worker that gave the message up did not tell yet.
    """

    message_id: str
    original_message: TaskMessage | None
    failed_at: datetime
    error: str
    retry_count: int
    reason: str
    queue: str
    body: bytes
    failures: tuple[PastFailure, ...] = ()
    error_type: str = ""


def shown(letter: DeadLetter) -> DLQMessage:
    """A letter as users see it."""
    try:
        original = messages.decode_whole(unsealed(letter.body))
    except ChicoryError:
        original = None
    last = PastFailure(letter.failed_at, letter.error_type, letter.error)
    return DLQMessage(
        letter.id,
        original,
        datetime.fromtimestamp(letter.failed_at, UTC),
        letter.error,
        letter.retries,
        letter.reason,
        letter.queue,
        letter.body,
        (*(original.failures if original else ()), last),
        letter.error_type,
    )


async def find(
    transport: Transport, queue: str | None, after: str | None, count: int, error: str
) -> Sequence[DeadLetter]:
    """The first ``count`` letters behind ``after`` whose last exception is of that class.

    ``error``: its name, or its end from a dot on: ``NoLuckError``, ``shop.NoLuckError``.
    """
    name = f".{error.removeprefix('builtins.')}"  # which is left out of a type
    found: list[DeadLetter] = []
    while len(found) < count:
        page = await transport.dead_letters(queue, after=after, limit=PAGE)
        if not page:
            break
        found += [letter for letter in page if f".{letter.error_type}".endswith(name)]
        after = page[-1].id
    return found[:count]


def revived(
    letter: DeadLetter, queue: str | None, seal: Seal, *, reset_retries: bool
) -> Publication:
    """The message to publish in place of a letter: due at once, holding its unique key again."""
    body, unique = letter.body, None
    try:
        envelope = messages.decode(seal.reopen(body))
    except MessageError:
        pass
    else:
        unique = envelope.unique = _without_its_delay(envelope)
        envelope.eta = None
        envelope.expires_at = None  # who replays it wants it run
        if reset_retries:
            envelope.retries = 0
            envelope.first_failure_at = None
            envelope.last_error = None
            envelope.failures = []
        body = seal.close(messages.encode(envelope))
    return Publication(queue or letter.queue, letter.task_id, body, letter.priority, unique=unique)


def _without_its_delay(envelope: Envelope) -> Unique | None:
    """The key it holds, for as long as a call holds it that may begin at once."""
    unique = envelope.unique
    if unique is None or envelope.eta is None:
        return unique
    wait = envelope.eta.timestamp() - envelope.enqueued_at
    # a message made by hand need not hold it for longer than that
    return Unique(unique.key, unique.ttl - wait) if 0 < wait < unique.ttl else unique


def portions(exchanges: Iterable[Exchange]) -> Iterator[Sequence[Exchange]]:
    """As many of them at a time as a broker should be given in one step, in the order given."""
    portion: list[Exchange] = []
    size = 0
    for letter, again in exchanges:
        if portion and size + len(again.body) > MAX_BYTES:
            yield portion
            portion, size = [], 0
        portion.append((letter, again))
        size += len(again.body)
    if portion:
        yield portion


async def replay(
    transport: Transport,
    results: Transport | None,
    exchanges: Sequence[Exchange],
    result_ttl: float,
) -> Sequence[bool]:
    """Exchange letters for messages, and forget what the calls came to; False: that one stays."""
    items = [(letter.id, again) for letter, again in exchanges]
    if results is None:
        return await transport.replay(items)
    # a waiter must find the new outcome, not the old one
    task_ids = [letter.task_id for letter, _ in exchanges]
    before = await results.look_up(task_ids)
    await results.store([Record(task_id, None, 0) for task_id in task_ids])
    replayed = await transport.replay(items)
    forgotten = {
        letter.id: Record(letter.task_id, standing.record, result_ttl)
        for (letter, _), standing, gone in zip(exchanges, before, replayed, strict=True)
        if not gone and standing.record is not None
    }
    if forgotten:
        left = await transport.find_dead(list(forgotten))
        await results.store([forgotten[letter.id] for letter in left if letter is not None])
    return replayed
