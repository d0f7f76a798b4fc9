"""What the stream says of one call, and what follows from it. Pure.

The messages of a thread each have their own subject, and only the last one of each is kept. The
latest message is the call as it is; the marks, renewals and outcomes behind it tell who has it.
Whoever changes a call does so on condition that the thread ends where it ended when it was read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct

from chicory_nats.headers import (
    BASIS,
    CALL,
    DELIVERIES,
    GONE,
    HOLDS,
    OPERATION,
    REPLACES,
    SEQUEL,
    SETTLES,
    UNTIL,
)
from chicory_nats.reading import Stored
from chicory_nats.sequel import Sequel, after, before
from chicory_nats.subjects import Kind, Place, kind_and_place

_MESSAGES = frozenset({Kind.QUEUED, Kind.SCHEDULED})
_OUTCOMES = frozenset({Kind.RECORD, Kind.END})


class Thread(Struct, frozen=True):
    """A call.

    Attributes:
        message: what is to be run, waiting or leased; ``None`` where there is nothing.
        scheduled: it is delayed.
        mark: who took it after the first one, or that it was given back.
        renewal: the last renewal of a lease.
        outcome: stored for the message, which is about to be removed.
        record: the latest record, also where it is over or gone.
        request: somebody wants the call cancelled.
        ended: the identities of messages whose outcome is still remembered.
        top: the sequence number that changes are guarded by.
    """

    message: Stored | None = None
    scheduled: bool = False
    mark: Stored | None = None
    renewal: Stored | None = None
    outcome: Stored | None = None
    record: Stored | None = None
    request: Stored | None = None
    ended: frozenset[bytes] = frozenset()
    top: int = 0

    @property
    def live(self) -> bool:
        """Whether the call is waiting, delayed or leased."""
        return self.message is not None and self.outcome is None

    @property
    def remnant(self) -> int:
        """The sequence number of a message that is still there though its outcome is; or 0."""
        return 0 if self.message is None or self.outcome is None else self.message.seq

    @property
    def call(self) -> bytes:
        """The identity of the message."""
        return b"" if self.message is None else self.message.headers.get(CALL, b"")

    @property
    def holder(self) -> int | None:
        """The lease that counts: what the one who has it got. ``None``: nobody can have one."""
        if not self.live or self.scheduled or self.message is None:
            return None
        if self.mark is None:
            return self.message.seq
        return self.mark.seq if self.mark.headers.get(HOLDS) == b"1" else None

    @property
    def replaced(self) -> int:
        """The sequence number of the message that this one continues; 0 where there is none."""
        return 0 if self.message is None else int(self.message.headers.get(REPLACES, b"0"))

    @property
    def given_back(self) -> bool:
        """Whether the message was fetched, and given back since."""
        return self.live and self.mark is not None and self.mark.headers.get(HOLDS) == b"0"

    @property
    def cancelled(self) -> bool:
        """Whether somebody wants the message cancelled."""
        return self.request is not None and self.request.headers.get(CALL) == self.call

    @property
    def sequel(self) -> Sequel | None:
        """What follows the outcome; ``None`` where it is stored for certain, or there is nothing.

        It is stored before the message is acknowledged.
        """
        leased, outcome = self.message, self.outcome
        if leased is None or outcome is None or int(outcome.headers[SETTLES]) != leased.seq:
            return None
        message = after(outcome.headers, outcome.body, leased.body)
        return None if message is None else Sequel(place_of(outcome).call, outcome.seq, message)

    @property
    def may_be_followed(self) -> bool:
        """Whether somebody who has read it may be about to store what follows the outcome."""
        outcome = self.outcome
        return outcome is not None and SEQUEL in outcome.headers and outcome.seq == self.top

    def held_until(self, lease: float) -> float:
        """Until when the stream itself says that the message is leased; 0 where it does not.

        By the server's clock, which tells when a lease of that many seconds was noted: that of
        its holder may be wrong.
        """
        if self.holder is None:
            return 0.0
        notes = [one for one in (self.mark, self._valid_renewal) if one is not None]
        return max((note.stored_at + lease for note in notes), default=0.0)

    def deliveries(self, counted: int) -> int:
        """How often the message was delivered, this time included.

        ``counted``: what the server says, for where the thread says nothing.
        """
        if self.message is None:
            return counted
        for known in (self._valid_renewal, self.mark):
            if known is not None:
                return int(_number(known, DELIVERIES)) + 1
        return int(_number(self.message, DELIVERIES)) + counted

    def body(self, now: float) -> bytes | None:
        """The latest record, where there is one."""
        if self.record is None or GONE in self.record.headers:
            return None
        if _number(self.record, UNTIL) <= now:
            return None
        return before(self.record.headers, self.record.body)

    def knows(self, call: bytes) -> bool:
        """Whether a message was stored: it is there, or its outcome is."""
        return self.call == call or call in self.ended

    def written_by(self, operation: bytes) -> bool:
        """Whether one of the messages was stored by a certain step."""
        written = (self.message, self.mark, self.outcome, self.record)
        return any(one is not None and _operation(one) == operation for one in written)

    @property
    def _valid_renewal(self) -> Stored | None:
        renewal, holder = self.renewal, self.holder
        if renewal is None or holder is None:
            return None
        return renewal if int(_number(renewal, BASIS)) == holder else None


def threads(stored: Iterable[Stored], calls: Iterable[bytes]) -> dict[bytes, Thread]:
    """The threads of these calls."""
    found: dict[bytes, list[tuple[bytes, Stored]]] = {call: [] for call in calls}
    for message in stored:
        kind, place = kind_and_place(message.subject)
        if place.call in found:
            found[place.call].append((kind, message))
    return {call: thread(entries) for call, entries in found.items()}


def thread(entries: Sequence[tuple[bytes, Stored]]) -> Thread:
    """The thread that these messages are."""
    last = dict(sorted(entries, key=lambda entry: entry[1].seq))
    messages = [
        (kind, last[kind]) for kind in _MESSAGES if kind in last and GONE not in last[kind].headers
    ]
    kind, message = max(messages, key=lambda one: one[1].seq, default=(b"", None))
    since = 0 if message is None else message.seq
    mark = last.get(Kind.MARK)
    return Thread(
        message=message,
        scheduled=kind == Kind.SCHEDULED,
        mark=mark if mark is not None and mark.seq > since else None,
        renewal=last.get(Kind.RENEWAL),
        outcome=_outcome(last, since),
        record=last.get(Kind.RECORD),
        request=last.get(Kind.REQUEST),
        ended=frozenset(
            last[kind].headers[CALL]
            for kind in _OUTCOMES
            if kind in last and CALL in last[kind].headers
        ),
        top=max((stored.seq for _, stored in entries), default=0),
    )


def place_of(stored: Stored) -> Place:
    """Where a message is."""
    return kind_and_place(stored.subject)[1]


def _outcome(last: dict[bytes, Stored], since: int) -> Stored | None:
    """The last outcome of a message, or of one that continued it, which is gone already."""
    ends = [last[kind] for kind in _OUTCOMES if kind in last and SETTLES in last[kind].headers]
    later = [end for end in ends if int(end.headers[SETTLES]) >= since]
    return max(later, key=lambda end: end.seq, default=None)


def _operation(stored: Stored) -> bytes | None:
    return stored.headers.get(OPERATION, stored.headers.get(CALL))


def _number(stored: Stored, name: bytes) -> float:
    return float(stored.headers.get(name, b"0"))
