"""A loop on the public API of nats-py: the floor, without any promise of a queue."""
# pyright: basic

from __future__ import annotations

import asyncio
import json
import uuid
from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import ConsumerConfig, RetentionPolicy, StorageType, StreamConfig

from benchmarks.peers import work
from benchmarks.peers.queue import Queue
from benchmarks.peers.stage import perform

_STREAM, _DURABLE = "RAW", "workers"
_CREDIT, _PULL = 512, 256
_WINDOW = 1000
_NEXT = f"$JS.API.CONSUMER.MSG.NEXT.{_STREAM}.{_DURABLE}"
_TTL = {"Nats-TTL": "3600"}


class RawNats(Queue):
    """Deliveries come to a callback, by credit; results go out with one inbox for the answers.

    A task is acknowledged when its result is stored.
    """

    uvloop = False

    async def open(self) -> None:
        """Connect and make the stream and its consumer."""
        self._client = Client()
        await self._client.connect(self.url, pending_size=32 << 20)
        stream = self._client.jetstream()
        await stream.add_stream(
            StreamConfig(
                name=_STREAM,
                subjects=["q.>", "r.>"],
                retention=RetentionPolicy.WORK_QUEUE,
                storage=StorageType.FILE,
                allow_msg_ttl=True,
            )
        )
        await stream.add_consumer(
            _STREAM,
            ConsumerConfig(durable_name=_DURABLE, filter_subject="q.>", max_ack_pending=100_000),
        )
        self._inbox = self._client.new_inbox()
        self._waiting: dict[str, Any] = {}
        self._asked: dict[str, asyncio.Future[bytes]] = {}
        self._hears = False
        await self._client.subscribe(f"{self._inbox}.*", cb=self._answered)

    async def send(self, name: str, *args: Any) -> None:
        """One message, stored when the answer is there."""
        await self._send(name, args)

    async def send_many(self, count: int, name: str, *args: Any) -> None:
        """As many as a window allows for, then their answers."""
        for first in range(0, count, _WINDOW):
            share = min(_WINDOW, count - first)
            stored: list[Any] = [
                await self._sent(name, args, uuid.uuid4().hex) for _ in range(share)
            ]
            await asyncio.gather(*stored)

    async def ask(self, name: str, *args: Any) -> Any:
        """One message; its result is heard as it is published, and not looked up."""
        if not self._hears:
            self._hears = True
            await self._client.subscribe("r.*", cb=self._told)
        mark = uuid.uuid4().hex
        told = self._asked[mark] = asyncio.get_running_loop().create_future()
        await (await self._sent(name, args, mark))
        return json.loads(await told)

    async def work(self) -> None:
        """Run what comes."""
        deliveries = self._client.new_inbox()
        credit = 0

        async def pull() -> None:
            nonlocal credit
            if credit <= _CREDIT - _PULL:
                credit += _PULL
                order = json.dumps({"batch": _PULL, "expires": 60_000_000_000}).encode()
                await self._client.publish(_NEXT, order, reply=deliveries)

        async def delivered(message: Msg) -> None:
            nonlocal credit
            if not message.reply:
                return
            credit -= 1
            work.TALLY.start()
            name, args = json.loads(message.data)
            result = json.dumps(await work.BARE[name](*args)).encode()
            mark = uuid.uuid4().hex
            self._waiting[mark] = message
            answer_to = f"{self._inbox}.{mark}"
            await self._client.publish(
                f"r.{message.subject[2:]}", result, reply=answer_to, headers=_TTL
            )
            await pull()

        await self._client.subscribe(deliveries, cb=delivered)
        await pull()
        await pull()
        await asyncio.Event().wait()

    async def _send(self, name: str, args: Any) -> None:
        await (await self._sent(name, args, uuid.uuid4().hex))

    async def _sent(self, name: str, args: Any, mark: str) -> asyncio.Future[None]:
        stored = self._waiting[mark] = asyncio.get_running_loop().create_future()
        body = json.dumps([name, args]).encode()
        await self._client.publish(f"q.{mark}", body, reply=f"{self._inbox}.{mark}")
        return stored

    async def _told(self, message: Msg) -> None:
        self._asked.pop(message.subject.rpartition(".")[2]).set_result(message.data)

    async def _answered(self, message: Msg) -> None:
        waiting = self._waiting.pop(message.subject.rpartition(".")[2])
        if b'"error"' in message.data or not message.data:
            raise RuntimeError(f"not stored: {message.data!r}")
        if isinstance(waiting, Msg):
            await self._client.publish(waiting.reply)
            work.TALLY.note()
        elif not waiting.done():
            waiting.set_result(None)


if __name__ == "__main__":
    perform(RawNats)
