"""A producer of a run: ``python -m chicory.testing.faults.producer URL LEDGER BACKEND SEED``.

It reads from its standard input how many calls it may have enqueued by now, one number a line,
and ends when that is closed. It can be made to die by ``CHICORY_FAULTS_TRAP`` (see ``tap.Trap``).
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from random import Random
from threading import Thread
from typing import Any

import anyio

from chicory import Chicory
from chicory.clock import SystemClock
from chicory.errors import BrokerConnectionError, ChicoryError
from chicory.sender import Sender
from chicory.signal import Signal
from chicory.testing.faults.kinds import Kind, draw
from chicory.testing.faults.ledger import Event, Note, Pen
from chicory.testing.faults.tap import ENQUEUEING, Trap
from chicory.testing.faults.tasks import DELAY, make_app
from chicory.transport import Accepted, Cancelled, PublishOutcome

BATCH = 50
PAUSE = 0.1
"""Seconds to wait where the broker takes nothing."""


class Allowance:
    """How many calls there may be; a thread reads it."""

    def __init__(self) -> None:
        self.total = 0
        self.over = False
        self._signal = Signal(SystemClock())
        Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in sys.stdin:
            self.total = int(line)
            self._signal.notify()
        self.over = True
        self._signal.notify()

    async def beyond(self, count: int) -> int:
        """How many more there may be, once there may be more; 0 when all is over."""
        while True:
            seen = self._signal.version
            if self.over or self.total > count:
                return max(0, self.total - count)
            await self._signal.wait(seen)


async def produce(app: Chicory, pen: Pen, trap: Trap, allowance: Allowance, chance: Random) -> None:
    """Enqueue calls as long as there may be more."""
    count = 0
    await _connect(app)
    async with app:
        while more := await allowance.beyond(count):
            kinds = draw(chance, min(more, BATCH))
            count += len(kinds)
            await enqueue(app, pen, trap, kinds, chance)


async def _connect(app: Chicory) -> None:
    while True:
        try:
            await app.connect()
        except BrokerConnectionError:
            await anyio.sleep(PAUSE)
        else:
            return


async def enqueue(
    app: Chicory, pen: Pen, trap: Trap, kinds: Sequence[Kind], chance: Random
) -> None:
    """Enqueue calls of these kinds; what is not answered for is not sent again."""
    calls = [(kind, _sender(app, kind, chance).call().prepare(app.broker)) for kind in kinds]
    pen.notes(Note(Event.ABOUT, call.task_id, detail=kind) for kind, call in calls)
    trap.at(ENQUEUEING)
    answers = await app.broker.enqueue_all([call for _, call in calls])
    pen.notes(
        Note(_event(answer), call.task_id) for (_, call), answer in zip(calls, answers, strict=True)
    )
    if any(isinstance(answer, ChicoryError) for answer in answers):
        await anyio.sleep(PAUSE)
        return
    for kind, call in calls:
        if kind is Kind.CANCELLED:
            try:
                answer = await app.broker.cancel(call.task_id)
            except ChicoryError:
                logging.getLogger(__name__).info("a cancellation was not answered, or refused")
            else:
                if answer is Cancelled.REMOVED:
                    pen.note(Event.REMOVED, call.task_id)


def _sender(app: Chicory, kind: Kind, chance: Random) -> Sender[..., Any]:
    task = app.get_task(kind.value)
    return task.options(delay=chance.uniform(0, DELAY)) if kind is Kind.DELAYED else task


def _event(answer: PublishOutcome | ChicoryError) -> Event:
    match answer:
        case Accepted():
            return Event.ACCEPTED
        case BrokerConnectionError():
            return Event.UNSURE
        case ChicoryError():
            return Event.REFUSED
        case _:  # sent again by the transport, which had not heard the first answer
            return Event.ACCEPTED


def main() -> None:
    """Produce until the standard input is closed."""
    url, ledger, backend, seed = sys.argv[1:]
    logging.basicConfig(level=logging.INFO, format="%(process)d %(relativeCreated)d %(message)s")
    app = make_app(url)
    with Pen(Path(ledger)) as pen:
        trap = Trap(pen, os.environ.get("CHICORY_FAULTS_TRAP", ""))
        anyio.run(produce, app, pen, trap, Allowance(), Random(seed), backend=backend)


if __name__ == "__main__":
    main()
