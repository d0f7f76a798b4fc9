"""What is measured of each attempt, for ``/metrics``: cheaply, on the event loop."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict

from chicory.outcome import Bury, Cancel, Fail, GiveBack, Postpone, RetryIn, Succeed, Verdict
from chicory.worker.attempt import Attempt

# fmt: off
BUCKETS = (
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0,
)
# fmt: on
"""Upper bounds in seconds; beyond the last one there is one more bucket."""
UNKNOWN = "unknown"
"""The task of messages that name none of this worker's: names in messages are without bound."""

_OUTCOMES: dict[type[Verdict], str] = {
    Succeed: "succeeded",
    RetryIn: "retried",
    Fail: "failed",
    Bury: "dead_lettered",
    Cancel: "cancelled",
    GiveBack: "given_back",
    Postpone: "snoozed",
}


class Histogram:
    """How many values fell into each bucket, and their sum."""

    __slots__ = ("counts", "sum")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count a value; below 0, as after a clock was set, it counts as 0."""
        value = max(value, 0.0)
        self.counts[bisect_left(BUCKETS, value)] += 1
        self.sum += value


class Meter:
    """Counts since the worker's start; read from other threads.

    Attributes:
        outcomes: attempts by task and outcome.
        dead_letters: by task and reason.
        durations: seconds that attempts ran which came to an end, by task.
        waits: seconds from enqueueing (or the time they were due) to the begin of first attempts,
            by queue.
    """

    def __init__(self) -> None:
        self.outcomes: Counter[tuple[str, str]] = Counter()
        self.dead_letters: Counter[tuple[str, str]] = Counter()
        self.durations: defaultdict[str, Histogram] = defaultdict(Histogram)
        self.waits: defaultdict[str, Histogram] = defaultdict(Histogram)

    def count(self, attempt: Attempt, verdict: Verdict, now: float) -> None:
        """Measure an attempt that ended ``now``, in epoch seconds."""
        task = attempt.name if attempt.task is not None else UNKNOWN
        self.outcomes[task, _OUTCOMES[type(verdict)]] += 1
        if isinstance(verdict, Bury):
            self.dead_letters[task, verdict.reason.value] += 1
        begun = attempt.started_at
        if not begun or isinstance(verdict, GiveBack):
            return
        self.durations[task].observe(now - begun)
        envelope = attempt.envelope
        if envelope is not None and not envelope.retries and envelope.enqueued_at:
            due = envelope.eta.timestamp() if envelope.eta else 0.0
            wait = begun - max(due, envelope.enqueued_at)
            self.waits[attempt.delivery.queue].observe(wait)
