"""The thread that owns the connection: operations that wait together commit together."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Sequence
from enum import Enum
from queue import Empty, SimpleQueue
from typing import Any, Final, Generic, TypeVar

from anyio import CancelScope, Event, get_cancelled_exc_class
from anyio.lowlevel import checkpoint_if_cancelled

from chicory.errors import BrokerConnectionError
from chicory.loop import Loop, current_loop
from chicory_sqlite.address import Address
from chicory_sqlite.forking import gate
from chicory_sqlite.session import Session
from chicory_sqlite.translation import translated

T = TypeVar("T")

_LARGEST_BATCH = 256
_HEAD_START = 0.001
"""Seconds; a tenth of it mostly does."""


class Undecided(Enum):
    """A look's answer where reading is not enough."""

    WRITE = "write"


WRITE: Final = Undecided.WRITE


class Operation(Generic[T]):
    """One verb's work: a look that takes no lock, and, where that does not do, an act.

    Of an act that is a single statement there may be that, too, as ``whole``: it needs no other
    one to begin and end a transaction. ``begun``, where somebody waits for that, is set when
    SQLite is about to be at it.
    """

    def __init__(
        self,
        look: Callable[[Session], T | Undecided] | None,
        act: Callable[[Session], T] | None,
        *,
        grows: bool,
        whole: Callable[[Session], T | None] | None = None,
        begun: threading.Event | None = None,
    ) -> None:
        self.look = look
        self.act = act
        self.grows = grows
        self.whole = whole
        self.begun = begun
        self.done = Event()
        self.result: T | None = None
        self.error: BaseException | None = None


class Writer:
    """Runs operations in its thread, one transaction for all that are queued at that moment.

    An operation's answer is given out after the commit. Where one fails, all are undone and each
    is run again in a transaction of its own: it gets its own answer or error.
    """

    def __init__(
        self, address: Address, start: Callable[[], Session], roused: Callable[[], None]
    ) -> None:
        self._address = address
        self._start = start
        self._roused = roused
        self._loop: Loop = current_loop()
        self._operations: SimpleQueue[Operation[Any] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="chicory-sqlite", daemon=True)
        self._closed = False
        self._ended = Event()

    async def open(self) -> None:
        """Start the thread and connect."""
        opened: Operation[None] = Operation(lambda _: None, None, grows=False)
        self._thread.start()
        self._operations.put(opened)
        try:
            with CancelScope(shield=True):
                await opened.done.wait()
        except get_cancelled_exc_class():  # asyncio's own, which no shield of anyio's stops
            self.abandon()
            raise
        if opened.error is not None:
            await self.close()
            raise opened.error

    async def close(self) -> None:
        """Finish what is queued, disconnect, end the thread."""
        if not self._closed:
            self._closed = True
            self._operations.put(None)
        with CancelScope(shield=True):
            await self._ended.wait()
        self._thread.join()

    def abandon(self) -> None:
        """End the thread without waiting for it, as where the event loop has ended."""
        if not self._closed:
            self._closed = True
            self._operations.put(None)

    async def look(self, look: Callable[[Session], T], *, abandon: bool = False) -> T:
        """Read; takes no lock. ``abandon`` lets a cancellation end the wait for the answer."""
        return await self._submit(Operation(look, None, grows=False), abandon=abandon)

    async def act(
        self,
        act: Callable[[Session], T],
        *,
        look: Callable[[Session], T | Undecided] | None = None,
        grows: bool = False,
        whole: Callable[[Session], T | None] | None = None,
        beside: bool = False,
        undo: Callable[[Session, T], object] | None = None,
    ) -> T:
        """Write; not even begun where ``look`` has an answer. ``grows`` may be refused for room.

        ``whole``: see ``Operation``; it answers ``None``, or breaks a constraint, where that does
        not do. ``beside``: there is work to be done on the event loop while SQLite is at it.
        ``undo``: called next, with the answer that a caller who was cancelled does not get.
        """
        begun = threading.Event() if beside else None
        operation = Operation(look, act, grows=grows, whole=whole, begun=begun)
        return await self._submit(operation, undo=undo)

    async def _submit(
        self,
        operation: Operation[T],
        *,
        abandon: bool = False,
        undo: Callable[[Session, T], object] | None = None,
    ) -> T:
        await checkpoint_if_cancelled()
        if self._closed:
            raise BrokerConnectionError(f"the connection to {self._address.path} is closed")
        self._operations.put(operation)
        if operation.begun is not None:
            # From a busy event loop the thread got the interpreter lock after 5 ms, which is when
            # there is nothing left to be done beside it. SQLite then does without that lock.
            operation.begun.wait(_HEAD_START)
        # An operation that is queued will be run: its answer must not get lost.
        try:
            with CancelScope(shield=not abandon):
                await operation.done.wait()
        except get_cancelled_exc_class():  # asyncio's own, which no shield of anyio's stops
            if undo is not None:
                self._operations.put(_undoing(operation, undo))
            raise
        if operation.error is not None:
            raise operation.error
        return operation.result  # pyright: ignore[reportReturnType]

    def _run(self) -> None:
        try:
            session = self._start()
        except BaseException as error:  # noqa: BLE001  it is raised where open waits
            self._refuse(error)
            return
        try:
            while batch := self._next_batch():
                with gate.inside():
                    self._perform(session, batch)
                self._loop.call_soon(_finish, batch)
        finally:
            session.close()
            self._loop.call_soon(self._ended.set)

    def _refuse(self, error: BaseException) -> None:
        self._closed = True
        operation = self._operations.get()
        assert operation is not None
        operation.error = self._ours(error)
        self._loop.call_soon(_finish, [operation])
        self._loop.call_soon(self._ended.set)

    def _next_batch(self) -> list[Operation[Any]]:
        """What waits now, at least one; empty once the writer is closed."""
        batch: list[Operation[Any]] = []
        operation = self._operations.get()
        while operation is not None:
            batch.append(operation)
            if len(batch) == _LARGEST_BATCH:
                return batch
            try:
                operation = self._operations.get_nowait()
            except Empty:
                return batch
        if batch:
            self._operations.put(None)  # nothing comes after it
        return batch

    def _perform(self, session: Session, batch: Sequence[Operation[Any]]) -> None:
        writes = [operation for operation in batch if not self._read(session, operation)]
        if len(writes) == 1 and self._complete(session, writes[0]):
            return
        if not writes or self._commit(session, writes):
            return
        for operation in writes:
            operation.error = None
            self._commit(session, [operation])

    def _read(self, session: Session, operation: Operation[Any]) -> bool:
        """Try to answer without the write lock."""
        if operation.look is None:
            return False
        try:
            operation.result = operation.look(session)
        except Exception as error:  # noqa: BLE001  it is raised where the verb waits
            operation.error = self._ours(error)
        return operation.error is not None or operation.result is not WRITE

    def _complete(self, session: Session, operation: Operation[Any]) -> bool:
        """Do what takes a single statement; False where it takes more."""
        if operation.whole is None:
            return False
        try:
            session.limit(tight=operation.grows)
            session.take()
            if operation.begun is not None:
                operation.begun.set()
            operation.result = operation.whole(session)
            session.give()
        except sqlite3.IntegrityError:
            session.rollback()
        except Exception as error:  # noqa: BLE001  it is raised where the verb waits
            session.rollback()
            operation.error = self._ours(error)
            return True
        if operation.result is None:
            return False
        self._roused()
        return True

    def _commit(self, session: Session, batch: Sequence[Operation[Any]]) -> bool:
        """Run a batch in one transaction, or not at all: then each is given the error.

        False where that is about what one of them wants. That none can begin is not.
        """
        try:
            session.begin()
        except Exception as error:  # noqa: BLE001  it is raised where the verb waits
            self._undo(session, batch, error)
            return True
        try:
            for operation in batch:
                assert operation.act is not None
                session.limit(tight=operation.grows)
                operation.result = operation.act(session)
            session.commit()
        except Exception as error:  # noqa: BLE001  it is raised where the verb waits
            self._undo(session, batch, error)
            return False
        if session.roused:
            self._roused()
        return True

    def _undo(self, session: Session, batch: Sequence[Operation[Any]], error: Exception) -> None:
        session.rollback()
        for operation in batch:
            operation.error = self._ours(error)

    def _ours(self, error: BaseException) -> BaseException:
        if not isinstance(error, sqlite3.Error):
            return error
        ours = translated(error, self._address)
        ours.__cause__ = error
        return ours


def _undoing(operation: Operation[T], undo: Callable[[Session, T], object]) -> Operation[object]:
    """What undoes an operation that is before it in the queue, or done."""

    def act(session: Session) -> object:
        if operation.error is not None:
            return None
        return undo(session, operation.result)  # pyright: ignore[reportArgumentType]

    return Operation(None, act, grows=False)


def _finish(batch: Sequence[Operation[Any]]) -> None:
    for operation in batch:
        operation.done.set()
