"""An attempt's run: its function is called on the event loop, in a thread or in another process."""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import anyio
from anyio import CapacityLimiter, to_thread
from msgspec.structs import replace

from chicory import rules
from chicory.context import TaskContext, running
from chicory.errors import ProcessDiedError, ValidationError
from chicory.outcome import DeathReason, Ending, GivenBack, Raised, Refused, Returned
from chicory.processes.crew import Crew
from chicory.processes.place import home
from chicory.processes.telling import hear
from chicory.processes.wire import Call, Misfit, Outcome, Value
from chicory.progress import Progress
from chicory.rules import RetryRules
from chicory.task import Task
from chicory.worker.attempt import Attempt

PAUSE = 1.0
"""Seconds after which a call for which there was no thread is offered again, to any worker."""

logger = logging.getLogger("chicory.worker")


class Performance:
    """Calls functions; decides nothing about what follows.

    Args:
        worker_id: who makes the attempts.
        now: the app's time.
        report: told of progress; ``None`` where it is not kept.
        crew: runs the tasks that want processes; without one they run in this process.
        max_memory: MiB that a process may have, where its task says nothing else.
        max_size: bytes that a result from a process may have.
    """

    def __init__(
        self,
        worker_id: str,
        now: Callable[[], float],
        report: Callable[[str, Progress], None] | None,
        crew: Crew | None = None,
        max_memory: int | None = None,
        max_size: int = sys.maxsize,
    ) -> None:
        self._worker_id = worker_id
        self._now = now
        self._report = report
        self._crew = crew
        self._max_memory = max_memory
        self._max_size = max_size
        self._rules: dict[str, RetryRules] = {}
        # slots are the limit; a thread that outlives its call must not keep later calls waiting
        self._threads = CapacityLimiter(math.inf)

    async def perform(self, attempt: Attempt) -> None:
        """Run the function. Only a cancellation leaves this; every error becomes the ending."""
        task = attempt.task
        assert task is not None
        if attempt.abort is not None:
            attempt.ending = attempt.abort
        elif self._crew is not None and task.executor == "process":
            await self._apart(attempt, self._crew)
        else:
            await self._here(attempt, task)

    def _begin(self, attempt: Attempt) -> None:
        attempt.started_at = self._now()
        limit = attempt.limit
        if limit is not None and attempt.scope is not None:
            attempt.timed = True
            attempt.scope.deadline = anyio.current_time() + limit

    # -- in this process ------------------------------------------------------------------

    async def _here(self, attempt: Attempt, task: Task[..., Any]) -> None:
        self._begin(attempt)
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
            attempt.ending = self._result(task, value)
        finally:
            running.reset(token)
            if attempt.ending is None:  # a thread goes on although its call is over
                attempt.give_notice()

    async def _in_thread(self, attempt: Attempt, task: Task[..., Any]) -> Any:
        """What it returns, or how it ended else."""
        call = partial(task.function, *attempt.args, **attempt.kwargs)
        try:
            return await to_thread.run_sync(
                _outcome, call, abandon_on_cancel=True, limiter=self._threads
            )
        except RuntimeError as error:  # not the function's: there is no memory for one more thread
            if attempt.acknowledged:  # it could not come again
                return Raised(error)
            logger.warning(
                "task %s (%s): %s: it is given back",
                attempt.name,
                attempt.delivery.task_id,
                error,
                extra=attempt.labels,
            )
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
                reports=self._reports(attempt),
            )
            attempt.context.cancelled = attempt.noticed
        return attempt.context

    def _reports(self, attempt: Attempt) -> Callable[[Progress], None] | None:
        assert attempt.task is not None
        if self._report is None or attempt.task.settings.ignore_result:
            return None
        return partial(self._report, attempt.delivery.task_id)

    def _result(self, task: Task[..., Any], value: Any) -> Ending:
        outputs = task.settings.validation_mode.outputs
        try:
            return Returned(task.signature.encode_result(value, check=outputs))
        except ValidationError as error:
            return Refused(DeathReason.UNUSABLE_RESULT, str(error))

    # -- in another one -------------------------------------------------------------------

    async def _apart(self, attempt: Attempt, crew: Crew) -> None:
        assert attempt.task is not None
        limit = attempt.task.settings.max_memory or self._max_memory
        try:
            child = await crew.hire(limit)
            try:
                self._begin(attempt)  # that a process had to start is not the task's time
                told = await crew.run(child, self._call(attempt), self._reports(attempt), limit)
            finally:
                crew.dismiss(child)
        except ProcessDiedError as error:
            attempt.ending = Raised(ProcessDiedError(f"{attempt.name}: {error}"))
        else:
            attempt.ending = _ending(told)

    def _call(self, attempt: Attempt) -> Call:
        task, envelope = attempt.task, attempt.envelope
        assert task is not None
        assert envelope is not None
        module, qualname = home(task)
        kept = self._reports(attempt) is not None  # as is the result
        return Call(
            module,
            qualname,
            task.name,
            envelope.args,
            envelope.kwargs,
            task.settings.validation_mode.outputs,
            attempt.labels,
            envelope.id,
            envelope.retries,
            envelope.retry_policy or self._rules_of(task),
            attempt.delivery.queue,
            self._worker_id,
            envelope.headers,
            envelope.enqueued_at,
            attempt.started_at,
            attempt.limit,
            kept,
            self._max_size if kept else sys.maxsize,
        )

    def _rules_of(self, task: Task[..., Any]) -> RetryRules:
        found = self._rules.get(task.name)
        if found is None:
            policy = task.settings.policy
            if callable(policy.retry_on):  # which decides where the exception is
                policy = replace(policy, retry_on=None)
            found = self._rules[task.name] = rules.written(policy)
        return found


def _ending(told: Outcome) -> Ending:
    match told:
        case Value(packed=packed):
            return Returned(packed)
        case Misfit(reason=reason, error=error):
            return Refused(DeathReason(reason), error)
        case _:
            return Raised(hear(told))


def _outcome(call: Callable[[], Any]) -> Any:
    """What it returns, or ``Raised``: on its way out of a thread an error may do other things.

    A ``GeneratorExit`` would close the coroutine that waits, and its callers.
    """
    try:
        return call()
    except BaseException as error:  # noqa: BLE001  (the user's code)
        return Raised(error)
