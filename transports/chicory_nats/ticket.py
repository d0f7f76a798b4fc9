"""What a worker holds of a leased message."""

from __future__ import annotations

import itertools
from secrets import token_hex

from chicory.transport import Settlement
from chicory_nats.subjects import Place
from chicory_nats.thread import Thread

_process = token_hex(6).encode()
_numbers = itertools.count(1)


def fresh() -> bytes:
    """A name that nothing else has."""
    return b"%b%x" % (_process, next(_numbers))


class Ticket:
    """The receipt of a delivery; the same object on all connections of the process.

    What changes the call is guarded by ``basis`` being the end of its thread. Where something else
    has come over it the thread is read, for that one step: what was its end then could be its end
    again when the message is long gone.

    Attributes:
        task_id: the call.
        place: where its message is.
        subject: of the message.
        seq: sequence number of the message.
        body: its bytes.
        ack: where JetStream takes the acknowledgement.
        call: identity of the message.
        basis: sequence number of what gave the lease: the message or a mark.
        first: there was nothing of the call before the message.
        replaces: sequence number of the message that it continues, which may be there still; 0
            where there is none.
        renewal: sequence number of the note that the lease goes on; 0 where there is none.
        request: that of the note that somebody wants the call cancelled.
        deliveries: how often it was delivered, this time included.
        step: a settlement whose answer is still to come, and the identity of its step; the same one
            sent again is that step.
        stored: the step is known to have been stored; the sequence number of an outcome that is to
            be kept no longer than others, 0 where there is none. ``None``: not known to be.
        cancelled: somebody is known to want the call cancelled.
    """

    __slots__ = (
        "ack",
        "basis",
        "body",
        "call",
        "cancelled",
        "deliveries",
        "first",
        "place",
        "renewal",
        "replaces",
        "request",
        "seq",
        "step",
        "stored",
        "subject",
        "task_id",
    )

    def __init__(
        self,
        task_id: str,
        place: Place,
        subject: bytes,
        seq: int,
        ack: bytes,
        call: bytes,
        body: bytes,
    ) -> None:
        self.task_id = task_id
        self.place = place
        self.subject = subject
        self.seq = seq
        self.ack = ack
        self.call = call
        self.body = body
        self.basis = seq
        self.first = False
        self.replaces = 0
        self.renewal = 0
        self.request = 0
        self.deliveries = 1
        self.step: tuple[Settlement, bytes] | None = None
        self.stored: int | None = None
        self.cancelled = False

    def begin(self, settlement: Settlement) -> bytes:
        """The identity of its step; it is the same one when it is sent again."""
        if self.step is None or self.step[0] != settlement:
            self.step, self.stored = (settlement, fresh()), None
        return self.step[1]

    def end(self) -> None:
        """The step is over, and its answer given."""
        self.step = self.stored = None

    def note(self, thread: Thread) -> None:
        """Take note of what is said of the call besides."""
        self.renewal = 0 if thread.renewal is None else thread.renewal.seq
        self.request = 0 if thread.request is None else thread.request.seq
