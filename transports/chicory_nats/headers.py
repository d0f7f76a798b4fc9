"""Blocks of NATS headers, and the names of those in use."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import quote, unquote

from chicory_nats.names import HASHED, text_of

VERSION = b"NATS/1.0"

EXPECTED = b"Nats-Expected-Last-Subject-Sequence"
ROLLUP = b"Nats-Rollup: sub\r\n"

CALL = b"Chicory-Call"
"""Identity of a message from its publication on, through retries, to its end and outcome."""
OPERATION = b"Chicory-Op"
"""Identity of the step that stored something, where that is not its call's publication."""
TASK_ID = b"Chicory-Id"
"""The id, where the subject holds only its hash."""
CANCELLED = b"Chicory-Cancelled"
"""Of a message: 1 where somebody wanted the call cancelled before."""
DELIVERIES = b"Chicory-Deliveries"
"""How often the message was delivered before."""
SETTLES = b"Chicory-Settles"
"""The sequence number of the message whose outcome this is; those before it are over as well."""
REPLACES = b"Chicory-Replaces"
"""Of a message: the sequence number of the one that it continues, which is about to be removed."""
UNTIL = b"Chicory-Until"
"""Seconds since the epoch: the end of a lease, a record, a key."""
HOLDS = b"Chicory-Holds"
"""Of a mark: 1 where the message is leased, 0 where it was given back."""
BASIS = b"Chicory-Basis"
"""Of a renewal: the sequence number that the lease goes back to."""
FIRST = b"Chicory-First"
"""Of a message: there was nothing of its call before it, so no record either."""
GONE = b"Chicory-Gone"
"""Stands in for a message or record that was deleted."""
SEQUEL = b"Chicory-Sequel"
"""Of an outcome: so many bytes at the end of its body are what is stored after it."""
AGAIN = b"Chicory-Again"
"""Of an outcome: it is no news, only how long it is kept has changed."""
PAUSED = b"Chicory-Paused"
PIECE = b"Chicory-Piece"
"""Of ballast: how many pieces there are up to this one."""
QUEUES = b"Chicory-Queues"
SERVER = b"Chicory-Server"


def line(name: bytes, value: bytes | float) -> bytes:
    """One header."""
    if isinstance(value, bytes):
        return b"%b: %b\r\n" % (name, value)
    return b"%b: %b\r\n" % (name, repr(value).encode())


def expect(last: int, subjects: bytes) -> bytes:
    """Refuse the message where ``last`` is not the last sequence number of these subjects."""
    return b"%b: %d\r\n%b-Subject: %b\r\n" % (EXPECTED, last, EXPECTED, subjects)


def lifetime(seconds: float) -> bytes:
    """Delete the message after so many seconds, rounded up to what the server can do."""
    return b"Nats-TTL: %d\r\n" % whole(seconds)


def lasting(seconds: float, keep: float = 0.0) -> bytes:
    """Have the message count for so many seconds, and be deleted after that and ``keep``."""
    until = time.time() + seconds
    return b"Nats-TTL: %d\r\n%b: %.6f\r\n" % (whole(max(seconds, keep)), UNTIL, until)


def identify(call: bytes, task_id: str) -> bytes:
    """The id, where the token of the call does not tell it."""
    if not call.startswith(HASHED):
        return b""
    return line(TASK_ID, quote(task_id, safe="", errors="surrogatepass").encode())


def task_id_of(call: bytes, block: Mapping[bytes, bytes]) -> str:
    """The id of a message."""
    known = text_of(call.decode())
    return unquote(block[TASK_ID].decode(), errors="surrogatepass") if known is None else known


def schedule(at: float, target: bytes) -> bytes:
    """Have the server publish the message to ``target`` at a point in time, and delete it here."""
    when = datetime.fromtimestamp(min(at, _LAST), UTC).isoformat(timespec="milliseconds")
    stamp = when.replace("+00:00", "Z").encode()
    return b"Nats-Schedule: @at %b\r\nNats-Schedule-Target: %b\r\n" % (stamp, target)


def purge(schedule: bytes) -> bytes:
    """Have the server delete a delayed message in the step that stores this one."""
    return b"Nats-Scheduler: %b\r\nNats-Schedule-Next: purge\r\n" % schedule


def parse(block: bytes | None) -> dict[bytes, bytes]:
    """The headers of a block; of several of one name the first."""
    fields: dict[bytes, bytes] = {}
    if block:
        for text in block.split(b"\r\n")[1:]:
            name, colon, value = text.partition(b":")
            if colon:
                fields.setdefault(name, value.strip())
    return fields


def parse_own(block: bytes | None) -> dict[bytes, bytes]:
    """The headers of a block from the first one on that is chicory's."""
    return parse(block[max(0, block.find(_OWN)) :]) if block else {}


def call_of_first(block: bytes | None) -> bytes | None:
    """The identity of a message that says no more than that it is the first one of its call."""
    start = block.find(_FIRST_CALL) if block else -1
    if block is None or start < 0:
        return None
    call = block[start + len(_FIRST_CALL) : -len(_LAST_LINE)]
    return None if b"\r" in call else call


def status(block: bytes | None) -> bytes:
    """The three digits of a message that is a status, else nothing."""
    if block is not None and block.startswith(b"NATS/1.0 "):
        return block[9:12]
    return b""


def whole(seconds: float) -> int:
    """A lifetime as the server takes it."""
    return max(1, math.ceil(min(seconds, _LONGEST)))


_OWN = b"\r\nChicory-"
_FIRST_CALL = b"\r\n%b: 1\r\n%b: " % (FIRST, CALL)
_LAST_LINE = b"\r\n\r\n"
_LONGEST = 10 * 365 * 86_400
_LAST = 8_000_000_000.0
"""The year 2223: the server counts nanoseconds in 63 bits, up to 2262."""
