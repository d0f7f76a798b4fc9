"""Whether a message that may have been delivered before may be delivered now. Pure."""

from __future__ import annotations

from enum import Enum

from chicory_nats.pull import Raw
from chicory_nats.thread import Thread


class Verdict(Enum):
    """What to do with a delivery.

    Attributes:
        TAKE: lease it.
        LEASED: somebody holds it: have JetStream deliver it again when that lease is over.
        OVER: its outcome is stored, or it is there no more: acknowledge it.
    """

    TAKE = "take"
    LEASED = "leased"
    OVER = "over"


def judge(raw: Raw, found: Thread, now: float, lease: float) -> Verdict:
    """Decide by the thread of the call, which was read after the delivery.

    ``now``: by the server's clock; ``lease``: seconds that one lasts.
    """
    if not found.live or found.message is None or found.message.seq != raw.seq:
        return Verdict.OVER
    if found.held_until(lease) > now:
        return Verdict.LEASED
    return Verdict.TAKE
