"""Requests that are answered once each: sent by batch, and sent again until they are answered."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Sequence
from secrets import token_hex

from chicory_nats.connection import TIMEOUT, Connection
from chicory_nats.denials import Denial
from chicory_nats.headers import status
from chicory_nats.translation import NOT_READY
from chicory_nats.wire import Batch, Request, is_stored, messages, problem, render

_PAUSE = 0.05
_REPEAT = 2.0
"""Seconds without an answer after which a request is sent again: its receiver may have died."""
REPEATED = TIMEOUT + _REPEAT
"""Seconds after which a request that was not answered is not sent again any more."""
_WINDOW = 2000
_WINDOW_BYTES = 16 << 20
_WINDOW_BATCHES = 32
"""A server keeps 50 open in a stream, and takes some milliseconds for each, tens where it is busy:
hundreds at once would not be answered in time, nor by the time that they are sent again."""

Inbox = Callable[[bytes, bytes, bytes | None, bytes], None]


class Exchange:
    """All answers come to one inbox; the last tokens of its subject say to which request.

    A request may reach the server more than once: it must be harmless to repeat.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.inbox = b"_INBOX.%b" % token_hex(12).encode()
        self._ids = itertools.count(1)
        self._batches = itertools.count(1)
        self._rounds: dict[bytes, _Round] = {}
        self._streams: dict[bytes, Inbox] = {}
        connection.on_up(self._send_again)
        connection.on_down(self._look_closed)
        connection.denials.on(self._deny)

    async def open(self) -> None:
        """Begin to listen."""
        self._connection.subscriptions.add(self.inbox + b".>", self._receive)

    async def send(self, requests: Sequence[Request]) -> Sequence[bytes]:
        """Send requests; the answers in their order.

        Raises:
            BrokerConnectionError: not all were answered in time. Those that were not answered
                may have been performed or not.
            ConfigurationError: the user may not send one of them, or not hear the answers.
        """
        answers: list[bytes] = []
        for part in _windows(requests):
            answers += await self._send(part)
        return answers

    async def ask(self, request: Request) -> bytes:
        """Send one request."""
        return (await self.send([request]))[0]

    def listen(self, hook: Inbox) -> bytes:
        """An inbox for many answers, until ``hush``."""
        name = b"s%d" % next(self._ids)
        self._streams[name] = hook
        return b"%b.%b" % (self.inbox, name)

    def hush(self, inbox: bytes) -> None:
        """Take no more answers at an inbox."""
        self._streams.pop(inbox.rpartition(b".")[2], None)

    async def _send(self, requests: Sequence[Request]) -> Sequence[bytes]:
        await self._connection.wait()
        number = b"%d" % next(self._ids)
        turn = _Round(requests, b"%b.%b." % (self.inbox, number), self._batch_id)
        self._rounds[number] = turn
        begun = time.monotonic()
        try:
            while not turn.over.done() and time.monotonic() < begun + TIMEOUT:
                if commands := turn.overdue():
                    await self._connection.write(commands)
                await asyncio.wait([turn.over], timeout=min(_REPEAT, TIMEOUT))
                if not turn.over.done() and turn.unheard:
                    self._connection.miss()
        finally:
            del self._rounds[number]
        self._connection.check()
        if not turn.over.done():
            self._connection.doubt(begun)
            raise self._connection.unreachable()
        turn.over.result()
        return turn.answers

    def _batch_id(self) -> bytes:
        return b"%b-%d" % (self.inbox[-24:], next(self._batches))

    def _receive(self, subject: bytes, reply: bytes, headers: bytes | None, body: bytes) -> None:
        name, _, index = subject[len(self.inbox) + 1 :].partition(b".")
        turn = self._rounds.get(name)
        if turn is None:
            hook = self._streams.get(name)
            if hook is not None:
                hook(subject, reply, headers, body)
        elif is_stored(body) or not _is_refusal(headers, body):
            turn.answer(int(index), body)
        else:
            turn.unheard = turn.unheard or status(headers) == b"503"
            asyncio.get_running_loop().call_later(_PAUSE, self._repeat, name, int(index))

    def _repeat(self, number: bytes, index: int) -> None:
        turn = self._rounds.get(number)
        if turn is not None:
            task = asyncio.get_running_loop().create_task(
                self._connection.write(turn.unanswered(index))
            )
            turn.tasks.add(task)
            task.add_done_callback(turn.tasks.discard)

    async def _send_again(self) -> None:
        for turn in list(self._rounds.values()):
            await self._connection.write(turn.unanswered())

    def _deny(self, denial: Denial) -> bool:
        rounds, is_deaf = self._rounds.values(), denial == Denial(self.inbox + b".>", hears=True)
        refused = [one for one in rounds if is_deaf or one.awaits(denial)]
        for turn in refused:
            turn.fail(self._connection.denials.error(denial))
        return bool(refused)

    def _look_closed(self) -> None:
        if not self._connection.is_up and self._connection.closed:
            for turn in self._rounds.values():
                turn.give_up()


class _Round:
    """Requests of one call and what was answered so far."""

    def __init__(
        self, requests: Sequence[Request], inbox: bytes, batch_id: Callable[[], bytes]
    ) -> None:
        self.answers: list[bytes] = [b""] * len(requests)
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.tasks: set[asyncio.Task[None]] = set()
        self.unheard = False
        self._requests = requests
        self._open = dict.fromkeys(range(len(requests)))
        self._left = len(requests)
        self._inbox = inbox
        self._batch_id = batch_id
        if not requests:
            self.give_up()

    def overdue(self) -> bytes:
        """The commands for what was not answered, where nothing was since this was asked last.

        A server that is busy with one after the other has the rest: it would have it twice.
        """
        left, self._left = self._left, len(self._open)
        return self.unanswered() if left == self._left else b""

    def unanswered(self, index: int | None = None) -> bytes:
        """The commands for what was not answered yet, or for one of them."""
        indices = self._open if index is None else [index] if index in self._open else []
        requests, inbox, batch_id = self._requests, self._inbox, self._batch_id
        return b"".join([render(requests[i], b"%b%d" % (inbox, i), batch_id) for i in indices])

    def answer(self, index: int, body: bytes) -> None:
        """Note an answer; the first one counts."""
        if index in self._open:
            del self._open[index]
            self.answers[index] = body
            if not self._open:
                self.give_up()

    def awaits(self, denial: Denial) -> bool:
        """Whether what is denied is a request that was not answered yet."""
        waiting = [self._requests[i] for i in self._open]
        sent = [one for each in waiting for one in messages(each)]
        return not denial.hears and any(one.subject == denial.subject for one in sent)

    def fail(self, error: Exception) -> None:
        """End it with an error."""
        if not self.over.done():
            self.over.set_exception(error)
            self.over.exception()  # taken note of, also where nobody waits for it any more

    def give_up(self) -> None:
        """Wake who waits."""
        if not self.over.done():
            self.over.set_result(None)


def _is_refusal(headers: bytes | None, body: bytes) -> bool:
    """Whether the server was not ready for the request, so that it is to be sent again."""
    if headers is not None:
        return status(headers) == b"503"
    if body.startswith(b'{"error"') or b'"error":{' in body[:200]:
        error = problem(body)
        return error is not None and error.err_code in NOT_READY
    return False


def _windows(requests: Sequence[Request]) -> Sequence[Sequence[Request]]:
    """What is sent together, in their order."""
    windows: list[list[Request]] = [[]]
    number = size = batches = 0
    for request in requests:
        number, size = number + 1, size + request.size
        batches += isinstance(request, Batch)
        if windows[-1] and (number > _WINDOW or size > _WINDOW_BYTES or batches > _WINDOW_BATCHES):
            windows.append([])
            number, size, batches = 1, request.size, int(isinstance(request, Batch))
        windows[-1].append(request)
    return windows
