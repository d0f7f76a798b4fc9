"""An attempt's run: its function is called on the event loop, in a thread or in another process."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from anyio import CapacityLimiter, to_thread

from chicory.context import TaskContext, running
from chicory.errors import ValidationError
from chicory.logs import unfailing
from chicory.outcome import DeathReason, Ending, GivenBack, Raised, Refused, Returned
from chicory.task import Task
from chicory.worker.apart import Apart
from chicory.worker.attempt import Attempt
from chicory.worker.plan import Post
from chicory.worker.reports import Reports

PAUSE = 1.0
"""Seconds after which a call for which there was no thread is offered again, to any worker."""

logger = unfailing("chicory.worker")


class Performance:
    """Calls functions; decides nothing about what follows.

    Args:
        post: where the worker works.
        reports: told of progress.
    """

    def __init__(self, post: Post, reports: Reports) -> None:
        self._worker_id = post.worker_id
        self._now = post.now
        self._reports = reports
        modules = post.plan.apart
        self._apart = Apart(post, reports, modules.values()) if modules else None
        # slots are the limit; a thread that outlives its call must not keep later calls waiting
        self._threads = CapacityLimiter(math.inf)

    def perform(self, attempt: Attempt) -> Awaitable[None]:
        """Run the function. Only a cancellation leaves this; every error becomes the ending."""
        task = attempt.task
        assert task is not None
        if self._apart is not None and task.executor == "process":
            return self._apart.perform(attempt)
        return self._here(attempt, task)

    async def close(self) -> None:
        """End the processes that have run tasks; the task group has ended."""
        if self._apart is not None:
            await self._apart.close()

    async def _here(self, attempt: Attempt, task: Task[..., Any]) -> None:
        attempt.begin(self._now())
        told, signature = partial(self._context, attempt), task.signature
        if signature.wants_context:
            attempt.args, attempt.kwargs = signature.inject(told(), attempt.args, attempt.kwargs)
        token = running.set(told)
        try:
            if task.is_async:
                value = await task.function(*attempt.args, **attempt.kwargs)
            else:
                value = await self._in_thread(attempt, task)
                if isinstance(value, Raised | GivenBack):
                    attempt.ending = value
                    return
        except (Exception, SystemExit, KeyboardInterrupt) as error:  # noqa: BLE001  (the user's code)
            attempt.ending = Raised(error)
        else:
            attempt.ending = ending_of(task, value)
        finally:
            running.reset(token)
            if attempt.ending is None:  # a thread goes on although its call is over
                attempt.give_notice()

    async def _in_thread(self, attempt: Attempt, task: Task[..., Any]) -> Any:
        """What it returns, or how it ended else."""
        call = partial(task.function, *attempt.args, **attempt.kwargs)
        try:
            return await to_thread.run_sync(
                outcome_of, call, abandon_on_cancel=True, limiter=self._threads
            )
        except RuntimeError as error:  # not the function's: there is no memory for one more thread
            if attempt.acknowledged:  # it could not come again
                return Raised(error)
            logger.warning("%s: %s: it is given back", attempt, error, extra=attempt.labels)
            return GivenBack(self._now() + PAUSE)

    def _context(self, attempt: Attempt) -> TaskContext:
        """What the function is told; made when it is first asked for, seldom by most tasks."""
        if attempt.context is None:
            assert attempt.envelope is not None
            attempt.context = TaskContext(
                attempt.envelope.id,
                attempt.envelope.name,
                attempt.envelope.retries,
                attempt.policy,
                attempt.delivery.queue,
                self._worker_id,
                attempt.envelope.headers,
                enqueued_at=attempt.envelope.enqueued_at,
                started_at=attempt.started_at,
                limit=attempt.limit,
                reports=self._reports.of(attempt),
            )
            attempt.context.cancelled = attempt.noticed
        return attempt.context


def ending_of(task: Task[..., Any], value: Any) -> Ending:
    """How an attempt ended whose function has returned this."""
    try:
        return Returned(task.signature.encode_result(value, check=task.checks_results))
    except ValidationError as error:
        return Refused(DeathReason.UNUSABLE_RESULT, str(error))


def outcome_of(call: Callable[[], Any]) -> Any:
    """What it returns, or ``Raised``: on its way out of a thread an error may do other things.

    A ``GeneratorExit`` would close the coroutine that waits, and its callers.
    """
    try:
        return call()
    except BaseException as error:  # noqa: BLE001  (the user's code)
        return Raised(error)
