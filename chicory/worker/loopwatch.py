"""The watch over the worker's event loop: that it answers, and what keeps it where it does not."""

from __future__ import annotations

import asyncio
import sys
import time
import traceback
from typing import Any

from chicory.config import WorkerConfig
from chicory.logs import unfailing
from chicory.worker.attempt import Attempt
from chicory.worker.ward import Ward

logger = unfailing("chicory.worker")


class LoopWatch:
    """Asks the ward's event loop for an answer, time and again; runs on the keeper's.

    Attributes:
        given_up: whether it has been blocked for longer than the limit, and still is.

    Args:
        ward: whose event loop it is.
        config: how long it may be blocked.
        stale_after: seconds after which a lease that nobody renewed is too old to begin with.
    """

    def __init__(self, ward: Ward, config: WorkerConfig, stale_after: float) -> None:
        self.given_up = False
        self._ward = ward
        self._config = config
        self._stale_after = stale_after
        self._question: _Question | None = None

    @property
    def blocked(self) -> float:
        """Seconds for which the event loop has owed an answer; from any thread."""
        question = self._question
        return 0.0 if question is None or question.is_answered else question.took

    async def run(self) -> None:
        """Watch for as long as there is an event loop."""
        pause = min(self._config.blocked_loop_warning / 4, self._stale_after / 2)
        while True:
            self._question = question = _Question()
            if not self._ask(question):
                self._question = None
                return
            await self._wait(question, pause)
            self._ward.lag = question.took
            self._question = None
            if self.given_up:
                self.given_up = False
                logger.warning("the event loop answers again: leases are renewed again")
            await asyncio.sleep(pause)

    async def _wait(self, question: _Question, pause: float) -> None:
        reported = False
        while not question.heard.is_set():
            try:
                async with asyncio.timeout(pause):
                    await question.heard.wait()
            except TimeoutError:
                blocked = self.blocked
                if blocked > self._config.blocked_loop_warning and not reported:
                    reported = True
                    self._report(blocked)
                self._consider_giving_up(blocked)

    def _ask(self, question: _Question) -> bool:
        loop = asyncio.get_running_loop()
        self._ward.shift.intake.freshness.doubt_from(time.monotonic() + self._stale_after)

        def answer() -> None:
            question.answer()
            self._ward.shift.intake.freshness.trust()
            try:
                loop.call_soon_threadsafe(question.heard.set)
            except RuntimeError:  # the keeper has been stopped meanwhile
                return

        return self._ward.loop.call_soon(answer)

    def _consider_giving_up(self, blocked: float) -> None:
        if blocked > self._config.blocked_loop_limit and not self.given_up:
            self.given_up = True
            logger.critical(
                "the event loop is blocked for %.0f s: giving up the leases of %d tasks, "
                "they will run elsewhere",
                blocked,
                len(self._ward.shift.held),
            )

    def _report(self, blocked: float) -> None:
        frame: Any = sys._current_frames().get(self._ward.thread)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        if frame is None:
            return
        culprit = self._culprit(frame)
        logger.warning(
            "the event loop is blocked for %.1f s by %s: use a plain def for blocking code, "
            "or await; leases are renewed meanwhile\n%s",
            blocked,
            f"task {culprit.name} ({culprit.delivery.task_id})"
            if culprit
            else "something that is no task",
            "".join(traceback.format_stack(frame)),
            extra=culprit.labels if culprit else None,
        )

    def _culprit(self, frame: Any) -> Attempt | None:
        codes: set[object] = set()
        while frame is not None:
            codes.add(frame.f_code)
            frame = frame.f_back
        for attempt in list(self._ward.shift.held.values()):
            if attempt.task and getattr(attempt.task.function, "__code__", None) in codes:
                return attempt
        return None


class _Question:
    """What the event loop is asked once.

    The answer has its time where it is given: the keeper, too, may be kept from hearing it.

    Attributes:
        heard: the keeper has the answer.
    """

    def __init__(self) -> None:
        self.heard = asyncio.Event()
        self._asked_at = time.monotonic()
        self._answered_at: float | None = None

    def answer(self) -> None:
        """Answer; on the event loop that was asked."""
        self._answered_at = time.monotonic()

    @property
    def is_answered(self) -> bool:
        """Whether it is answered, heard or not."""
        return self._answered_at is not None

    @property
    def took(self) -> float:
        """Seconds until the answer, or until now where there is none."""
        end = self._answered_at
        return (time.monotonic() if end is None else end) - self._asked_at
