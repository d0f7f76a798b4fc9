"""One attempt at a task, here and now, as a worker would make it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Generic, ParamSpec, TypeVar, cast

from anyio import CancelScope, current_time, to_thread
from msgspec import Raw

from chicory import portal, record
from chicory.context import TaskContext, running
from chicory.errors import ConfigurationError, ValidationError
from chicory.message import new_id
from chicory.outcome import (
    DeathReason,
    Ending,
    Raised,
    Refused,
    Returned,
    Terms,
    Verdict,
    decide,
    settled_before,
    too_large,
    undecided,
)
from chicory.progress import Progress
from chicory.record import StoredResult
from chicory.states import TaskState
from chicory.task import Task
from chicory.testing.clock import START
from chicory.worker.attempt import timed_out
from chicory.worker.performance import ending_of, outcome_of

P = ParamSpec("P")
R = TypeVar("R")


class Rehearsal(Generic[P, R]):
    """Runs a task in place, with a context of your choice; nothing is published or stored.

    Arguments and result travel as they do for real: encoded, decoded, validated.

    Args:
        task: the task.
        retries: attempts made before.
        headers: notes that travel with the call.
        queue: where it would come from; the task's own where none is given.
        task_id: its identity; a new one where none is given.
        worker_id: who would run it.
        now: the time at which it is enqueued and begins; seconds since the epoch.

    Attributes:
        context: what the task is given, and what ``chicory.current()`` gives.
        progress: what it reported, in order.
    """

    def __init__(
        self,
        task: Task[P, R],
        *,
        retries: int = 0,
        headers: Mapping[str, str] | None = None,
        queue: str | None = None,
        task_id: str | None = None,
        worker_id: str = "rehearsal",
        now: float = START,
    ) -> None:
        self.task = task
        self.progress: list[Progress] = []
        self.context = TaskContext(
            task_id or new_id(),
            task.name,
            retries,
            task.settings.policy,
            queue or task.settings.queue,
            worker_id,
            {**task.settings.headers, **(headers or {})},
            enqueued_at=now,
            started_at=now,
            limit=task.settings.timeout,
            reports=self.progress.append,
        )

    async def run(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """The task's result. Raises what the task does; a ``def`` runs in a thread.

        Also one that has a process of its own in a worker.

        Raises ``TimeoutError`` where it runs longer than its ``timeout`` (real seconds; a thread is
        left behind), and ``ValidationError`` where an argument, or a checked result, does not fit,
        or the result is larger than can be stored.
        """
        signature = self.task.signature
        given, named = signature.decode(*signature.encode(args, kwargs, check=False))
        value = await self._perform(given, named)
        if isinstance(value, Raised):
            raise value.error
        packed = signature.encode_result(value, check=self.task.checks_results)
        if text := self._too_large(packed):
            raise ValidationError(text)
        return cast("R", signature.decode_result(packed))

    def run_sync(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """``run`` for tests without an event loop."""
        return portal.run_sync("rehearsal.run_sync(...)", self.run, *args, **kwargs)

    async def verdict(self, /, *args: P.args, **kwargs: P.kwargs) -> Verdict:
        """What a worker would do about it: ``Succeed``, ``RetryIn``, ``Bury``, ``Postpone``...

        Raises ``ValidationError`` for an argument that cannot be sent: no worker would be given it.
        """
        packed = self.task.signature.encode(args, kwargs, check=False)
        try:
            given, named = self.task.signature.decode(*packed)
        except (ValidationError, ConfigurationError) as error:
            return self._decided(Refused(DeathReason.INVALID_ARGUMENTS, str(error)))
        verdict = self._decided(await self._ending(given, named))
        return settled_before(verdict) if self.task.at_most_once else verdict

    def _decided(self, ending: Ending) -> Verdict:
        terms = Terms(self.context.retries, self.context.policy)
        try:
            return decide(ending, terms)
        except (Exception, SystemExit) as error:  # noqa: BLE001  (the user's exceptions and filters)
            return decide(undecided(error), terms)

    async def _ending(self, args: Sequence[Any], kwargs: dict[str, Any]) -> Ending:
        value = await self._perform(args, kwargs)
        if isinstance(value, Raised):
            return value
        ending = ending_of(self.task, value)
        if isinstance(ending, Returned) and (text := self._too_large(ending.value)):
            return Refused(DeathReason.UNUSABLE_RESULT, text)
        return ending

    def _too_large(self, value: Raw) -> str:
        """What is said of a result that would not be stored; empty where it would be."""
        told, source = self.context, self.task.source
        stored = StoredResult(
            task_id=told.task_id,
            state=TaskState.SUCCESS,
            result=value,
            name=told.task_name,
            retries=told.retries,
            started_at=told.started_at.timestamp(),
            finished_at=told.started_at.timestamp(),
            worker_id=told.worker_id,
        )
        size, limit = len(record.encode(stored)), source.broker.max_size
        if source.backend is None or size <= limit:
            return ""
        return too_large(told.task_name, size, limit)

    async def _perform(self, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """What the function returns within the time of its task, or ``Raised``."""
        limit = self.task.settings.timeout
        end = math.inf if limit is None else current_time() + limit
        value: Any = None
        with CancelScope(deadline=end):
            value = await self._call(args, kwargs)
        if current_time() < end:
            return value
        self.context.cancelled = True
        return timed_out(self.task.name, limit)

    async def _call(self, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        given, named = self.task.signature.inject(self.context, args, kwargs)
        call = partial(self.task.function, *given, **named)
        token = running.set(lambda: self.context)
        try:
            if self.task.is_async:
                return await call()
            return await to_thread.run_sync(outcome_of, call, abandon_on_cancel=True)
        except (Exception, SystemExit) as error:  # noqa: BLE001  (the user's code)
            return Raised(error)
        finally:
            running.reset(token)
