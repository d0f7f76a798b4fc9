"""Cancelling a call: what is asked of the broker, and how its worker hears of it at once.

A worker learns of a request with certainty when it next renews its leases. So that it need not
be waited for, the ids are recorded under ``ORDERS`` as well, which workers watch: who holds one
of them asks the broker. A record that is lost, or replaced before it was seen, costs that time.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Protocol

import msgspec

from chicory import record
from chicory.errors import BrokerConnectionError, QueueFullError
from chicory.record import TaskResult
from chicory.states import TaskState
from chicory.transport import Cancelled, Record, Transport

ORDERS = "chicory:cancellations"
_HEARD = 60.0
"""Seconds within which a worker that is there has heard of an order."""
WHY = ("cancelled", "cancelled on request")
"""Type and message of the error that a cancelled call leaves."""

_ids = msgspec.msgpack.Decoder(list[str])


def epitaph(task_id: str, now: float) -> bytes:
    """The result of a call that was cancelled before it began."""
    kind, text = WHY
    return record.encode(
        TaskResult(
            task_id=task_id,
            state=TaskState.CANCELLED,
            error=text,
            error_type=kind,
            finished_at=now,
        )
    )


def ordered(body: bytes) -> list[str]:
    """The calls that an order is about; none where another version wrote it."""
    try:
        return _ids.decode(body)
    except msgspec.DecodeError:
        return []


def order(task_ids: Sequence[str]) -> Record:
    """What tells workers that these calls are to be stopped."""
    return Record(ORDERS, msgspec.msgpack.encode(task_ids), _HEARD)


class Desk(Protocol):
    """Takes what many cancel at the same time together."""

    transport: Transport

    @property
    def cancel(self) -> Callable[[Record], Awaitable[Cancelled]]:
        """Cancels one call, as ``Transport.cancel`` does."""
        ...

    @property
    def order(self) -> Callable[[str], Awaitable[None]]:
        """Orders a call, which is held, to be stopped."""
        ...


async def cancel(broker: Desk, results: Transport | None, outcome: Record) -> Cancelled:
    """Cancel one call; ``outcome`` is stored where it was removed.

    ``results``: where results are kept, if that is another server. It is told after the broker;
    where that was lost on the way, cancelling the call once more makes up for it.
    """
    answer = await broker.cancel(outcome)
    if answer is Cancelled.REQUESTED:
        with suppress(BrokerConnectionError, QueueFullError):  # the request stands all the same
            await broker.order(outcome.task_id)
    elif results is not None and (answer or await _was_removed(broker.transport, outcome.task_id)):
        await results.store([outcome])
    return answer


async def _was_removed(broker: Transport, task_id: str) -> bool:
    """Whether an earlier attempt to cancel the call removed it."""
    (standing,) = await broker.look_up([task_id])
    if standing.record is None:
        return False
    return record.decode(standing.record).state is TaskState.CANCELLED
