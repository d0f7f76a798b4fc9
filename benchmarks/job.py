"""What a child process is told to do, and what it answers: one line of JSON each."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

from msgspec import Struct

from benchmarks.variant import Scheduling

Figures: TypeAlias = dict[str, float]
"""Values by the name that ``benchmarks.figure`` knows them by."""


class CutShort(KeyboardInterrupt):
    """A measurement of many minutes was interrupted; ``figures`` are those that it has by then."""

    def __init__(self, figures: Figures) -> None:
        super().__init__()
        self.figures = figures


Task: TypeAlias = Literal["noop", "nap", "spin", "blob", "plain", "plain_spin", "fail", "falter"]
"""What is run: nothing, a wait, a processor's work, nothing with 10 KiB of arguments, nothing or
work in a thread, an exception each time or the first time."""


Ballast: TypeAlias = Literal["results", "delayed", "queued"]
"""What a broker may be laden with."""

BALLASTS: tuple[Ballast, ...] = get_args(Ballast)


class Job(Struct, frozen=True, kw_only=True):
    """One errand of a child process.

    Attributes:
        errand: the name of a function in ``benchmarks.errands``.
        url: the broker.
        server: its process; 0 where there is none.
        loop: the event loop.
        count: calls to make or to expect.
        rate: calls a second.
        seconds: how long to look, or to go on.
        pauses: the least and the most seconds between two calls.
        concurrency: tasks that a worker runs at once.
        task: what a queue is drained of.
        nap: seconds that it waits or works.
        queue: where the calls are.
        ballast: what is put in the way of the calls: see ``benchmarks.ballast``.
        path: a file that tasks write to.
    """

    errand: str
    url: str
    server: int = 0
    loop: Scheduling
    count: int = 0
    rate: float = 0.0
    seconds: float = 0.0
    pauses: tuple[float, float] = (0.01, 0.03)
    concurrency: int = 32
    task: Task = "noop"
    nap: float = 0.0
    queue: str = "default"
    ballast: Ballast = "queued"
    path: str = ""
