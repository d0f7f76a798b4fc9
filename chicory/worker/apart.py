"""An attempt's run in another process."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from msgspec import Raw
from msgspec.structs import replace

from chicory import rules
from chicory.errors import ProcessDiedError
from chicory.outcome import DeathReason, Ending, Raised, Refused, Returned
from chicory.processes.crew import Crew
from chicory.processes.place import home
from chicory.processes.telling import hear
from chicory.processes.wire import Call, Misfit, Outcome, Value
from chicory.rules import RetryRules
from chicory.task import Task
from chicory.worker.attempt import Attempt
from chicory.worker.plan import Post
from chicory.worker.reports import Reports


class Apart:
    """Has calls run by a crew.

    Args:
        post: where the worker works.
        reports: told of progress.
        modules: of the tasks' functions.
    """

    def __init__(self, post: Post, reports: Reports, modules: Iterable[str]) -> None:
        self._crew = Crew(post.group, list(modules))
        self._reports = reports
        self._worker_id = post.worker_id
        self._now = post.now
        self._max_memory = post.config.max_process_memory
        self._max_size = post.max_size
        self._rules: dict[str, RetryRules] = {}

    async def perform(self, attempt: Attempt) -> None:
        """Run the function. Only a cancellation leaves this; every error becomes the ending."""
        assert attempt.task is not None
        limit = attempt.task.settings.max_memory or self._max_memory
        try:
            child = await self._crew.hire(limit)
            try:
                attempt.begin(self._now())  # that a process had to start is not the task's time
                reports = self._reports.of(attempt)
                told = await self._crew.run(child, self._call(attempt), reports, limit)
            finally:
                self._crew.dismiss(child)
        except ProcessDiedError as error:
            attempt.ending = Raised(ProcessDiedError(f"{attempt.name}: {error}"))
        else:
            attempt.ending = _ending(told)

    async def close(self) -> None:
        """End the processes; the task group has ended."""
        await self._crew.close()

    def _call(self, attempt: Attempt) -> Call:
        task, envelope = attempt.task, attempt.envelope
        assert task is not None
        assert envelope is not None
        module, qualname = home(task)
        kept = self._reports.of(attempt) is not None  # as is the result
        return Call(
            module,
            qualname,
            task.name,
            envelope.args,
            envelope.kwargs,
            task.checks_results,
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
            return Returned(Raw(packed))
        case Misfit(reason=reason, error=error):
            return Refused(DeathReason(reason), error)
        case _:
            return Raised(hear(told))
