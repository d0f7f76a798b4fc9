"""Records of workers that are dead and hold nothing: which those are, and away with them."""

from __future__ import annotations

from collections.abc import Sequence

from chicory import stats
from chicory.errors import MessageError
from chicory.session import Link
from chicory.transport import WorkerRecord


def is_stale(record: WorkerRecord, now: float, silence: float, lease: float) -> bool:
    """Whether the worker is dead, holds nothing, and was last heard ``silence`` seconds ago.

    Dead is who said so in its last heartbeat, having given back all that it held; and who has let
    its heartbeat expire: what it held is held no more when a lease has passed since.
    """
    if now - record.beat_at < silence:
        return False
    return stats.has_stopped(record) or record.expires_at + lease <= now


async def remove_stale(link: Link, silence: float, queue: str | None = None) -> int:
    """Remove the stale records, or those of a queue's workers; how many.

    A worker that was taken for dead and is not is listed again with its next heartbeat.
    """
    transport = (await link.session()).transport
    records, now = await transport.workers(), link.clock.now()
    stale = [
        record
        for record in records
        if is_stale(record, now, silence, link.lease)
        and (queue is None or queue in _queues(record))
    ]
    for record in stale:
        await transport.beat(record, 0)
    return len(stale)


def _queues(record: WorkerRecord) -> Sequence[str]:
    """What the worker consumes, or did before it stopped."""
    try:
        told = stats.read(record)
    except MessageError:
        return record.queues
    return record.queues or told.queues or [told.queue]
