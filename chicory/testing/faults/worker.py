"""A worker process of a run: ``python -m chicory.testing.faults.worker URL LEDGER BACKEND``.

It dies when its standard input is closed, as that of an orphan is. Faults are set in it by its
environment: ``CHICORY_FAULTS_TRAP`` (see ``tap.Trap``), and ``CHICORY_FAULTS_STEP``, the seconds
by which SIGUSR1 moves its clock.
"""

from __future__ import annotations

import logging
import os
import resource
import signal
import sys
import time
from pathlib import Path
from threading import Thread
from typing import cast

import anyio

from chicory import Worker
from chicory.clock import SystemClock
from chicory.errors import BrokerConnectionError
from chicory.testing.faults.ledger import Event, Pen
from chicory.testing.faults.tap import Tap, Trap
from chicory.testing.faults.tasks import make_app
from chicory.transport import Transport

MEMORY = 6 << 30  # threads reserve much and use little
"""Bytes of address space beyond those of a worker that has begun; it is refused more."""


PAUSE = 0.1
"""Seconds to wait where the broker cannot be reached at the start."""
PULSE, STALL = 0.1, 0.4
"""Seconds between two beats of a thread that does nothing; and for how late a stall is noted."""


class SteppedClock(SystemClock):
    """A clock that somebody sets, now and then."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def now(self) -> float:
        """Seconds since the epoch, as somebody thinks."""
        return super().now() + self.ahead


def _feel_pulse(pen: Pen) -> None:
    """Note when this process gets no processor: then it is not to blame for leases it loses."""
    while True:
        before = time.monotonic()
        time.sleep(PULSE)
        late = time.monotonic() - before - PULSE
        if late > STALL:
            pen.note(Event.STALLED, detail=f"{late:.3f}")


def _die_as_an_orphan() -> None:
    sys.stdin.read()
    os._exit(1)


def _limit_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, most))


def main() -> None:
    """Work until told to stop."""
    url, ledger, backend = sys.argv[1:]
    logging.basicConfig(level=logging.INFO, format="%(process)d %(relativeCreated)d %(message)s")
    with Pen(Path(ledger)) as pen:
        Thread(target=_feel_pulse, args=(pen,), daemon=True).start()
        Thread(target=_die_as_an_orphan, daemon=True).start()
        trap = Trap(pen, os.environ.get("CHICORY_FAULTS_TRAP", ""))
        clock = SteppedClock()
        step = float(os.environ.get("CHICORY_FAULTS_STEP", "0"))

        def set_clock(*_: object) -> None:
            clock.ahead += step

        def leave(*_: object) -> None:
            sys.exit(0)

        def say(event: Event, key: str, attempt: int) -> None:
            pen.note(event, key, attempt)
            trap.at(event.value)

        signal.signal(signal.SIGUSR1, set_clock)
        signal.signal(signal.SIGTERM, leave)  # until the worker has its own
        app = make_app(url, say, clock=clock)
        link = app.broker_link
        link.exchange(cast("Transport", Tap(link.template, pen, trap)), clock)
        worker = Worker(app)

        async def run() -> None:
            async with anyio.create_task_group() as group:
                while True:  # as a supervisor does, where the broker is away just now
                    try:
                        await group.start(worker.run)
                        break
                    except BrokerConnectionError:
                        await anyio.sleep(PAUSE)
                _limit_memory()
                pen.note(Event.READY)

        anyio.run(run, backend=backend)


if __name__ == "__main__":
    main()
