"""The server: scripts are run there, and run again where the answer was lost."""

from __future__ import annotations

import asyncio
from typing import Any

from anyio import CancelScope
from redis.exceptions import MovedError, RedisError

from chicory_redis.memos import Call, Memos
from chicory_redis.operations import Operations
from chicory_redis.resending import Resending
from chicory_redis.scripts import Script, load
from chicory_redis.translation import (
    UNKNOWN_HOST,
    Lost,
    is_denied,
    is_unknown_script,
    named_place,
    takes_no_writes,
    translated,
)
from chicory_redis.wire import Wire

_FAILURES = (Lost, RedisError)


class Server:
    """Runs scripts on the keys of one namespace.

    Errors of all methods are chicory's, but for those of ``attempt``.

    Args:
        wire: the connection.
        operations: runs what must not be left half-way.
        base: of the keys.
        client: unique name of this client.
        group: name of the streams' consumer group.
    """

    def __init__(
        self, wire: Wire, operations: Operations, base: str, client: str, group: str
    ) -> None:
        self.wire = wire
        self._operations = operations
        self.base = base
        self.client = client
        self._group = group
        self.address = wire.address
        self._memos: dict[str, Memos] = {}

    async def run(self, name: str, *args: Any) -> Any:
        """Run a script that may be run twice."""
        resending = Resending(self.address)
        while True:
            try:
                return await self.attempt(name, *args)
            except _FAILURES as error:
                await resending.after(error)

    async def run_once(self, name: str, *args: Any, resumes: bool = False) -> Any:
        """Run a script that must not be run twice: sent again, it gives the answer it gave.

        ``resumes``: also to who calls it again with the same arguments, having got no answer.

        Cancelled, it has been done or was not begun. What all goes well with needs no task of its
        own for that: who is cancelled, as who gets no answer, asks for the answer again.
        """
        memos = self._memos.get(name) or self._memos.setdefault(
            name, Memos(f"{self.client}:{name}")
        )
        async with memos.turn:
            call, is_open = memos.begin(args)
            try:
                answer = await self._run_once(name, call, int(is_open), args)
            except BaseException:
                if resumes:
                    memos.leave_open(call, args)
                else:
                    memos.end(call)
                raise
            memos.end(call)
            return answer

    async def _run_once(self, name: str, call: Call, again: int, args: tuple[Any, ...]) -> Any:
        if not self.wire.is_connected:
            return await self._operations.run(self._insist(name, call, again, args))
        try:
            return await self.attempt(name, *call, again, *args, last=True)
        except _FAILURES as error:
            return await self._operations.run(self._insist(name, call, 1, args, error))
        except asyncio.CancelledError:
            with CancelScope(shield=True):
                await self._operations.begin(self._insist(name, call, 1, args)).outlast()
            raise

    async def _insist(
        self,
        name: str,
        call: Call,
        again: int,
        args: tuple[Any, ...],
        error: Exception | None = None,
    ) -> Any:
        resending = Resending(self.address)
        while True:
            if error is not None:
                await resending.after(error)
                again = 1
            try:
                return await self.attempt(name, *call, again, *args)
            except _FAILURES as failure:
                error = failure

    async def command(self, *args: Any) -> Any:
        """Send a plain command that may be sent twice."""
        resending = Resending(self.address)
        while True:
            try:
                return await self._call(*args)
            except _FAILURES as error:
                await resending.after(error)

    async def command_now(self, *args: Any) -> Any:
        """Send a plain command, and let it fail."""
        try:
            return await self.wire.call(*args)
        except _FAILURES as error:
            raise translated(error, self.address) from error

    async def attempt(self, name: str, *args: Any, last: bool = False) -> Any:
        """Run a script, once. Raises ``Lost`` or an error of redis-py.

        Where the answer is to come ``last``, whoever is told something by the script hears first.
        """
        script = load(name, self._group)
        try:
            return await self._evaluate(script, args, last=last)
        except RedisError as error:
            if is_denied(error) and (commands := script.where(str(error))):
                error.args = (f"{commands}: {error}",)
            raise

    async def _evaluate(self, script: Script, args: tuple[Any, ...], *, last: bool) -> Any:
        try:
            return await self._call("EVALSHA", script.digest, 1, self.base, *args, last=last)
        except RedisError as error:
            if not is_unknown_script(error):
                raise
        return await self._call("EVAL", script.source, 1, self.base, *args)

    async def _call(self, *args: Any, last: bool = False) -> Any:
        try:
            return await self.wire.call(*args, last=last)
        except MovedError as error:
            host, port = named_place(error)
            if host != UNKNOWN_HOST:
                self.wire.move(host, port, error)
            raise
        except RedisError as error:
            if takes_no_writes(error):
                self.wire.cut(error)  # the name may lead to another server by now
            raise
