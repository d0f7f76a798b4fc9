"""A transport that notes what goes through it, and in which its process can be made to die."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from chicory import message as messages
from chicory.errors import MessageError
from chicory.testing.faults.ledger import DEAD, DONE, RELEASE, RETRY, Event, Note, Pen
from chicory.transport import (
    Abilities,
    Dead,
    Delivery,
    Done,
    Receipt,
    Retry,
    Settled,
    Settlement,
    Transport,
)

STEPS = ("fetched", "started", "effect", "settling", "settled")
"""Where a worker can be made to die: at its first notice of a step, or while it is under way."""


ENQUEUEING = "enqueueing"
"""Where a producer can be made to die: when it is about to enqueue calls, or while it does."""


class Trap:
    """Kills this process when it comes to a step for the nth time.

    Args:
        pen: where the death is noted.
        setting: ``step:times:seconds``, or nothing; how long after it.
    """

    def __init__(self, pen: Pen, setting: str = "") -> None:
        self._pen = pen
        self._step, times, seconds = (setting or "none:0:0").split(":")
        self._left, self._seconds = int(times), float(seconds)

    def at(self, step: str) -> None:
        """Come to a step."""
        if step != self._step:
            return
        self._left -= 1
        if self._left > 0:
            return
        if self._seconds:
            threading.Thread(target=self._die_later, daemon=True).start()
        else:
            self._die()

    def _die_later(self) -> None:
        time.sleep(self._seconds)
        self._die()

    def _die(self) -> None:
        self._pen.note(Event.KILLED, detail=self._step)
        os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(60)  # not one instruction more


class Tap:
    """Passes everything on to a transport; notes what is fetched and settled.

    For ``Link.exchange`` and the like: it has all verbs of the transport in it.
    """

    def __init__(self, inner: Transport, pen: Pen, trap: Trap) -> None:
        self._inner = inner
        self._pen = pen
        self._trap = trap
        self._held: dict[Receipt, tuple[str, int]] = {}

    @property
    def abilities(self) -> Abilities:
        """Those of the transport."""
        return self._inner.abilities

    def clone(self) -> Tap:
        """Another one."""
        return Tap(self._inner.clone(), self._pen, self._trap)

    async def fetch(self, queues: Sequence[str], limit: int, wait: float) -> Sequence[Delivery]:
        """Fetch, and note what."""
        found = await self._inner.fetch(queues, limit, wait)
        notes: list[Note] = []
        for delivery in found:
            attempt = _attempt(delivery)
            self._held[delivery.receipt] = (delivery.task_id, attempt)
            notes.append(Note(Event.FETCHED, delivery.task_id, attempt, str(delivery.deliveries)))
        self._pen.notes(notes)
        if found:
            self._trap.at("fetched")
        return found

    async def settle(self, settlements: Sequence[Settlement]) -> Sequence[Settled]:
        """Settle, and note before it what is asked, after it what was answered."""
        said = [(*self._held.get(one.receipt, ("", 0)), _way(one)) for one in settlements]
        self._pen.notes(Note(Event.SETTLING, *each) for each in said)
        self._trap.at("settling")
        answers = await self._inner.settle(settlements)
        self._trap.at("settled")
        self._pen.notes(
            Note(Event.SETTLED if answer is Settled.SETTLED else Event.FENCED, *each)
            for each, answer in zip(said, answers, strict=True)
        )
        for one in settlements:
            self._held.pop(one.receipt, None)
        return answers

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def __aenter__(self) -> Self:
        await self._inner.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._inner.close()


def _attempt(delivery: Delivery) -> int:
    try:
        return messages.decode(delivery.body).retries
    except MessageError:
        return 0


def _way(settlement: Settlement) -> str:
    match settlement:
        case Done():
            return DONE
        case Retry():
            return RETRY
        case Dead(letter=letter):
            return f"{DEAD}:{letter.reason}"
        case _:
            return RELEASE
