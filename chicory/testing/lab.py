"""An app under test: in memory, in a time that the test moves, with a worker that it lets run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, ParamSpec, Self

from chicory import message as messages
from chicory.app import Chicory
from chicory.config import WorkerConfig
from chicory.errors import ValidationError
from chicory.message import Envelope
from chicory.sender import Sender
from chicory.signature import Signature
from chicory.testing.clock import ManualClock, check_step
from chicory.testing.journal import Enqueued, Journal, JournalingTransport, entry
from chicory.transport import TransportSettings
from chicory.worker import Worker

P = ParamSpec("P")

MAX_ATTEMPTS = 10_000
"""Attempts of one ``drain``; tasks that enqueue each other for ever are found so."""


class Lab:
    """Within ``with Lab(app) as lab`` the app needs no broker, and no time passes by itself.

    Whatever its URL says, its queues and results are in memory, empty at first and gone at the
    end. Delays, retries, expiry, leases and the life of results go by ``lab.clock``; time limits
    (``timeout``) go by the real one. Tasks with ``executor="process"`` run in this process, the
    ``def`` ones in a thread: so they see what the test has patched, and what they enqueue stays
    here; how a process dies is not for this kind of test. Works on any event loop, and without one.
    Who still waits for a result at the end gets a ``BrokerConnectionError``: nothing would come.

    Attributes:
        app: the app.
        clock: its time.
    """

    def __init__(self, app: Chicory, *, clock: ManualClock | None = None) -> None:
        self.app = app
        self.clock = clock or ManualClock()
        self._journal = Journal()
        self._broker = self._transport()
        self._undo: list[Callable[[str], object]] = []

    def __enter__(self) -> Self:
        app, before = self.app, self.app.clock
        is_inside = isinstance(app.broker_link.template, JournalingTransport)
        if is_inside:
            raise RuntimeError("this app is in a Lab already")
        self._undo = [app.broker_link.exchange(self._broker, self.clock)]
        if app.backend_link is not None and app.backend_link is not app.broker_link:
            self._undo.append(app.backend_link.exchange(self._transport(), self.clock))
        app.clock = self.clock
        self._undo.append(lambda _: setattr(app, "clock", before))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for undo in self._undo:
            undo("the Lab ended")
        self._undo = []

    def _transport(self) -> JournalingTransport:
        config = self.app.config
        settings = TransportSettings(
            url="memory://", namespace=config.namespace, lease=config.lease, clock=self.clock
        )
        return JournalingTransport(settings, journal=self._journal)

    # -- what was enqueued ----------------------------------------------------------------

    def calls(self, task: Sender[..., Any] | None = None) -> list[Enqueued]:
        """Calls enqueued since the beginning or ``clear``, in order; of one task, or of all.

        Each one that was accepted, also of two under one id; no retry, nor what was replayed.
        """
        found: list[Enqueued] = []
        for publication in self._journal:
            body = self.app.seal.open(publication.body)
            envelope = messages.decode(body)
            if task is None or envelope.name == task.name:
                found.append(entry(publication, envelope, self._arguments(envelope, body)))
        return found

    def assert_enqueued(
        self, task: Sender[P, Any], /, *args: P.args, **kwargs: P.kwargs
    ) -> Enqueued:
        """The first call of the task with exactly these arguments, however they were passed.

        Raises ``AssertionError`` that lists what was enqueued, where there is none.
        """
        wanted = _as_received(task.signature, args, kwargs)
        for call in self.calls(task):
            if call.arguments == wanted:
                return call
        given = ", ".join(f"{name}={value!r}" for name, value in wanted.items())
        raise AssertionError(f"{task.name}({given}) was not enqueued; {self._listed()}")

    def assert_not_enqueued(self, task: Sender[..., Any]) -> None:
        """No call of the task was enqueued. Raises ``AssertionError`` that lists what was."""
        if self.calls(task):
            raise AssertionError(f"{task.name} was enqueued; {self._listed()}")

    def clear(self) -> None:
        """Forget what was enqueued so far; the calls themselves stay."""
        self._journal.clear()

    def _listed(self) -> str:
        lines = [f"\n  {call}" for call in self.calls()]
        return f"enqueued were:{''.join(lines)}" if lines else "nothing was enqueued"

    def _arguments(self, envelope: Envelope, body: bytes) -> Mapping[str, Any]:
        task = self.app.tasks.get(envelope.name)
        if task is not None:
            with suppress(ValidationError):  # what does not fit is told as what nobody knows
                return task.signature.bind(*task.signature.decode(envelope.args, envelope.kwargs))
        plain = messages.decode_whole(body)
        return dict(enumerate(plain.args)) | plain.kwargs  # pyright: ignore[reportReturnType]

    # -- running it -----------------------------------------------------------------------

    async def drain(self) -> int:
        """Run all that is due, one call at a time, and what that enqueues; how many attempts.

        Queues go in the order of their names, within one as always. What is due later stays.
        Errors of tasks are outcomes, as in a worker: see ``result.get()`` and the dead letters.

        Raises ``AssertionError`` after ``MAX_ATTEMPTS``.
        """
        made = 0
        while queues := await self._ready():
            worker = Worker(self.app, self._config(), queues=queues, burst=True, in_place=True)
            await worker.run(handle_signals=False)
            made += worker.get_stats().tasks_processed
            if made >= MAX_ATTEMPTS:
                raise AssertionError(
                    f"{MAX_ATTEMPTS} attempts and no end: do tasks enqueue each other?"
                )
        return made

    async def advance(self, seconds: float) -> int:
        """Let time pass, and run what comes due at its time; how many attempts.

        Delayed calls, retries, snoozing calls and those whose worker was lost run when the clock
        shows their moment, in that order; at the end it has moved by ``seconds``, or further
        where a task has moved it.

        Raises ``ValueError`` for less than 0, infinity and nan, having run nothing.
        """
        check_step(seconds)
        until = self.clock.now() + seconds
        made = await self.drain()
        while (due := self._broker.next_change()) <= until:
            self.clock.advance(max(0.0, due - self.clock.now()))
            made += await self.drain()
        self.clock.advance(max(0.0, until - self.clock.now()))
        return made + await self.drain()

    async def lose_worker(self, queue: str = "default", held: int = 1) -> list[str]:
        """Have a worker fetch that many calls and die with them; their ids, in order.

        They run again once the lease is over: ``await lab.advance(app.config.lease)``. How often
        that happens to a call counts as it does for real (``max_crashes``).
        """
        async with self._broker.clone() as transport:
            return [delivery.task_id for delivery in await transport.fetch([queue], held, 0)]

    def drain_sync(self) -> int:
        """``drain`` for tests without an event loop."""
        return self.app.run_sync(self.drain)

    def advance_sync(self, seconds: float) -> int:
        """``advance`` for tests without an event loop."""
        return self.app.run_sync(self.advance, seconds)

    async def _ready(self) -> list[str]:
        counts = await self.app.broker.counts()
        return [name for name, count in counts.items() if count.ready and not count.paused]

    def _config(self) -> WorkerConfig:
        own = self.app.config.worker
        return WorkerConfig(
            concurrency=1,
            max_tasks=MAX_ATTEMPTS,
            max_crashes=own.max_crashes,
            use_dead_letter_queue=own.use_dead_letter_queue,
            health_port=None,  # it would come from the environment
        )


def _as_received(
    signature: Signature, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Mapping[str, Any]:
    return signature.bind(*signature.decode(*signature.encode(args, kwargs, check=False)))
