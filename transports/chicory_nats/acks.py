"""Telling JetStream what became of deliveries, and knowing that it took note."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from chicory_nats.headers import status
from chicory_nats.session import Session
from chicory_nats.wire import Outgoing, publish

ACK = b"+ACK"
NAK = b"-NAK"
PROGRESS = b"+WPI"
_NOBODY = b"503"
_NO_MESSAGE = b"$JS.ACK.%b.%b.1.4611686018427387904.1.1.0"
"""Where to acknowledge a message that no stream is long enough for."""
_PATIENCE = 2.0


class Acks:
    """Sends acknowledgements in one go, and waits for the answer to the last one of each consumer.

    A consumer takes them in their order, so the last answer is for all. After a crash of the
    server no answer comes for what it forgot.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._waiting: set[asyncio.Future[bool]] = set()
        session.connection.on_down(self._give_up)

    async def send(self, acks: Sequence[tuple[bytes, bytes]]) -> bool:
        """Send (subject, word) pairs; whether it is certain that all were taken."""
        if not acks:
            return True
        connection, exchange = self._session.connection, self._session.exchange
        generation = connection.generation
        waiting = set(_last_of_each([subject for subject, _ in acks]))
        taken: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

        def receive(subject: bytes, _reply: bytes, headers: bytes | None, _body: bytes) -> None:
            waiting.discard(int(subject.rpartition(b".")[2]))
            unheard = status(headers) == _NOBODY
            if (unheard or not waiting) and not taken.done():
                taken.set_result(not unheard)

        inbox = exchange.listen(receive)
        self._waiting.add(taken)
        commands = [
            b"PUB %b %b %d\r\n%b\r\n"
            % (ack, b"%b.%d" % (inbox, n) if n in waiting else b"", len(word), word)
            for n, (ack, word) in enumerate(acks)
        ]
        try:
            await connection.write(b"".join(commands))
            async with asyncio.timeout(_PATIENCE):
                certain = await taken
        except TimeoutError:
            return False
        finally:
            exchange.hush(inbox)
            self._waiting.discard(taken)
        return certain and connection.generation == generation

    async def barrier(self, consumers: Iterable[str]) -> None:
        """Return once all is here that these consumers have sent so far.

        It says of a message that there is none of that work goes on: the answer comes the way
        that messages come, and in order with them. An answer to a ping may overtake them.
        """
        if self._session.connection.is_up:
            stream = self._session.subjects.stream.encode()
            await self.send([(_NO_MESSAGE % (stream, c.encode()), PROGRESS) for c in consumers])

    async def tell(self, acks: Iterable[tuple[bytes, bytes]]) -> None:
        """Send (subject, word) pairs, and hope."""
        commands = [publish(Outgoing(subject, b"", word)) for subject, word in acks]
        await self._session.connection.write(b"".join(commands))

    def _give_up(self) -> None:
        for taken in self._waiting:
            if not taken.done():
                taken.set_result(False)


def later(seconds: float) -> bytes:
    """The word that gives a delivery back after some time."""
    return b'-NAK {"delay": %d}' % max(1, round(seconds * 1e9))


def _last_of_each(acks: Sequence[bytes]) -> Iterable[int]:
    """Where the last one for each consumer is."""
    consumer = _consumer(acks[-1])
    if all(ack.startswith(consumer) for ack in acks):  # nearly always
        return [len(acks) - 1]
    return {_consumer(ack): index for index, ack in enumerate(acks)}.values()


def _consumer(ack: bytes) -> bytes:
    """What the acknowledgements to one consumer begin with."""
    return b".".join([*ack.split(b".", 6)[: 4 if ack.count(b".") == _SHORT else 6], b""])


_SHORT = 8
