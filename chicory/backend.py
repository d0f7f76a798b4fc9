"""The backend: the door to results and workers, the same on every transport."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec
from anyio import Event, move_on_after

from chicory import codec, progress, record, stats
from chicory.accepted import brief
from chicory.codec import Codec
from chicory.errors import ChicoryError, MessageError, ValidationError
from chicory.health import BackendStatus
from chicory.names import check_name
from chicory.progress import Progress
from chicory.record import StoredResult, TaskResult
from chicory.session import Callback, Link, Outcome, Session
from chicory.stale import remove_stale
from chicory.states import TaskState
from chicory.stats import WorkerStats
from chicory.transport import Record, Stage, WorkerRecord

logger = logging.getLogger("chicory")


class Backend:
    """Results and worker records of one broker. Connects by itself where need be.

    Raises (every method): ``BrokerConnectionError`` where the server does not answer.
    """

    def __init__(self, link: Link, result_ttl: float, types: Codec = codec.PLAIN) -> None:
        self._link = link
        self._result_ttl = result_ttl
        self._codec = types

    async def connect(self) -> None:
        """Connect on this event loop."""
        await self._session()

    async def disconnect(self) -> None:
        """Close this event loop's connection."""
        await self._link.close()

    async def wait(self, task_id: str, timeout: float | None = None) -> StoredResult:  # noqa: ASYNC109  (the users' name)
        """The call's final result as soon as it is stored: pushed, not polled.

        Raises ``TimeoutError`` after ``timeout`` seconds (``None``: waits for ever; 0: looks once),
        ``ValidationError`` where that is no number.
        """
        check_timeout(timeout)
        if timeout is not None and timeout <= 0:
            return await self._at_once(task_id, timeout)
        arrived = Event()
        found: list[Outcome] = []

        def receive(_: str, outcome: Outcome) -> None:
            found.append(outcome)
            arrived.set()

        with move_on_after(math.inf if timeout is None else timeout):
            unsubscribe = await self.subscribe([task_id], receive)
            try:
                await arrived.wait()
            finally:
                unsubscribe()
        if not found:
            raise _in_vain(task_id, timeout)
        if isinstance(found[0], ChicoryError):
            raise found[0]
        return found[0]

    async def _at_once(self, task_id: str, timeout: float) -> StoredResult:  # noqa: ASYNC109
        standing = (await (await self._session()).transport.look_up([task_id]))[0]
        found = record.decode(standing.record) if standing.record else None
        if found is None or not found.state.final:
            raise _in_vain(task_id, timeout)
        return found

    async def subscribe(self, task_ids: Sequence[str], callback: Callback) -> Callable[[], None]:
        """Have ``callback`` called once for each call; call what is returned to stop.

        It is told the id and the final result, or the error for which that cannot be had.
        """
        results = (await self._session()).results
        await results.add(task_ids, callback)
        return lambda: results.discard(task_ids, callback)

    async def state(self, task_id: str) -> TaskState:
        """Where the call stands; PENDING also for one that was never sent, or is forgotten."""
        check_name(task_id, "task id")
        standing = (await (await self._session()).transport.look_up([task_id]))[0]
        if standing.stage is Stage.RUNNING:
            return TaskState.STARTED
        return record.decode(standing.record).state if standing.record else TaskState.PENDING

    async def get_result(self, task_id: str) -> TaskResult | None:
        """What is stored of the call, its value as plain data; ``None`` for nothing."""
        check_name(task_id, "task id")
        standing = (await (await self._session()).transport.look_up([task_id]))[0]
        return record.decode_plain(standing.record) if standing.record else None

    async def progress(self, task_id: str) -> Progress | None:
        """The call's latest report; ``None`` for none. Raises ``MessageError`` for no report."""
        key = progress.key(task_id)
        standing = (await (await self._session()).transport.look_up([key]))[0]
        return progress.decode(standing.record) if standing.record else None

    async def store_result(self, task_id: str, result: TaskResult) -> None:
        """Store a result by hand; who waits for it is told.

        Raises ``ValidationError`` for one that could not be read again; nothing is stored.
        """
        check_name(task_id, "task id")
        try:
            body = record.encode(msgspec.structs.replace(result, task_id=task_id), self._codec)
            record.decode_plain(body)
        except (*codec.ENCODE_ERRORS, MessageError) as error:
            raise ValidationError(f"result of task {task_id}: {error}") from error
        await (await self._session()).transport.store([Record(task_id, body, self._result_ttl)])

    async def delete_result(self, task_id: str) -> None:
        """Forget what is stored of the call."""
        check_name(task_id, "task id")
        await (await self._session()).transport.store([Record(task_id, None, 0)])

    async def get_active_workers(self) -> list[WorkerStats]:
        """The latest heartbeat of each live worker."""
        records = await (await self._session()).transport.workers()
        now = self._link.clock.now()
        live = _readable(r for r in records if r.expires_at > now)
        return [worker for worker in live if worker.is_running]

    async def get_heartbeat(self, worker_id: str) -> WorkerStats | None:
        """A worker's latest heartbeat, of a dead one too while it is kept."""
        for r in await (await self._session()).transport.workers():
            if r.worker_id == worker_id:
                return stats.read(r)
        return None

    async def store_heartbeat(
        self, worker_id: str, heartbeat: WorkerStats, ttl: float = 30
    ) -> None:
        """Store a heartbeat for ``ttl`` seconds."""
        check_name(worker_id, "worker id")
        queues = tuple(heartbeat.queues) or (heartbeat.queue,)
        for queue in queues:
            check_name(queue, "queue")
        beat = WorkerRecord(worker_id, queues, stats.encode(heartbeat))
        await (await self._session()).transport.beat(beat, ttl)

    async def cleanup_stale_clients(self, stale_seconds: float = 60.0) -> int:
        """Remove records of workers that died that long ago; how many. As the broker's does."""
        return await remove_stale(self._link, stale_seconds)

    async def healthcheck(self) -> BackendStatus:
        """Ask the server now."""
        error = await self._link.failure()
        return BackendStatus(connected=error is None, error=error)

    async def _session(self) -> Session:
        return self._link.opened() or await self._link.session()


def check_timeout(timeout: object) -> None:
    """Raise ``ValidationError`` for what is neither a number of seconds nor ``None``."""
    if timeout is None:
        return
    if not isinstance(timeout, int | float) or not -math.inf <= timeout <= math.inf:  # nan
        raise ValidationError(f"timeout={brief(timeout)}: must be a number of seconds, or None")


def _readable(records: Iterable[WorkerRecord]) -> Iterator[WorkerStats]:
    """The statistics of these; one that another version wrote must not hide the others."""
    for worker in records:
        try:
            yield stats.read(worker)
        except MessageError as error:
            logger.warning("%s", error)


def _in_vain(task_id: str, timeout: float | None) -> TimeoutError:
    return TimeoutError(f"no result of task {task_id} within {timeout:g} s")
