"""The port: what every broker must be able to do, and promise, for chicory.

A transport translates; it does not decide. It knows queues, leases and bytes; it never looks
into a body, retries a task, or sleeps between attempts. ``chicory.testing.contract`` holds
the suite that proves an implementation, and ``chicory.testing.memory`` the reference.

Rules for every verb:

* **Atomic per item.** Each item of a batch happens whole or not at all, also when the process
  is killed in the middle of the call; the items of one batch are independent of one another.
* **Safe to send again.** A verb whose answer was lost may be repeated unchanged.
* **Durable when it returns**, as far as the server's persistence goes.
* **Cancellation loses nothing.** A cancelled verb has done its work or has not begun; nothing
  stays claimed or half done. ``fetch`` either raises the cancellation having leased nothing,
  or returns what it leased.
* **Errors.** ``BrokerConnectionError``: no answer, try again. ``QueueFullError``: the broker
  has no room. Both leave the items of the batch either done whole or not begun. No exception
  of a client library crosses the port.
* **Time** is seconds: points in time since the epoch, as ``float``; durations as ``float``.
* Text (queue names, ids, keys) is any ``str`` of 1 to 255 characters; a transport escapes what
  its broker reserves.
"""

from chicory.transport.abilities import Abilities
from chicory.transport.cancelled import Cancelled
from chicory.transport.counts import Counts
from chicory.transport.delivery import Delivery, Lease, Receipt
from chicory.transport.letter import DeadLetter
from chicory.transport.port import Transport
from chicory.transport.publication import (
    MAX_NAME,
    Accepted,
    Duplicate,
    Priority,
    Publication,
    PublishOutcome,
    Unique,
)
from chicory.transport.record import Record, Stage, Standing
from chicory.transport.settings import DEFAULT_LEASE, TransportSettings
from chicory.transport.settlement import Dead, Done, Release, Retry, Settled, Settlement
from chicory.transport.vouching import Vouching
from chicory.transport.worker import WorkerRecord, seen_at

__all__ = [
    "DEFAULT_LEASE",
    "MAX_NAME",
    "Abilities",
    "Accepted",
    "Cancelled",
    "Counts",
    "Dead",
    "DeadLetter",
    "Delivery",
    "Done",
    "Duplicate",
    "Lease",
    "Priority",
    "Publication",
    "PublishOutcome",
    "Receipt",
    "Record",
    "Release",
    "Retry",
    "Settled",
    "Settlement",
    "Stage",
    "Standing",
    "Transport",
    "TransportSettings",
    "Unique",
    "Vouching",
    "WorkerRecord",
    "seen_at",
]
