"""A loop on bare redis-py: the floor, without any promise of a queue."""
# pyright: basic

from __future__ import annotations

import asyncio
import json
import uuid
from contextlib import suppress
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from benchmarks.peers import work
from benchmarks.peers.queue import BULK, Queue
from benchmarks.peers.stage import perform

STREAM, CONSUMER_GROUP = "raw", "group"
_BATCH = 100
TTL = 3600
_ID = 32
Result = tuple[bytes, bytes, bytes, bytes | None]
"""Of an entry: its id in the stream, its task's, the value, and the channel of who waits."""


class RawRedis(Queue):
    """A batch is read, run one after the other, and settled by one pipeline; batch after batch.

    Each task costs a SET with a TTL, an XACK and an XDEL.
    """

    uvloop = False

    async def open(self) -> None:
        """Connect; without the time-outs that redis-py would arm for each reply."""
        self.redis = Redis.from_url(self.url, socket_timeout=None, protocol=2)
        self._asked: dict[bytes, asyncio.Future[bytes]] = {}
        self._channel = f"told-{uuid.uuid4().hex}"
        self._listening: asyncio.Task[None] | None = None
        with suppress(ResponseError):  # another process of this measurement has made it
            await self.redis.xgroup_create(STREAM, CONSUMER_GROUP, "0", mkstream=True)

    async def send(self, name: str, *args: Any) -> None:
        """One XADD."""
        await self.redis.xadd(STREAM, _entry(name, args))

    async def send_many(self, count: int, name: str, *args: Any) -> None:
        """Pipelines of XADD."""
        for first in range(0, count, BULK):
            pipeline = self.redis.pipeline(transaction=False)
            for _ in range(min(BULK, count - first)):
                pipeline.xadd(STREAM, _entry(name, args))
            await pipeline.execute()

    async def ask(self, name: str, *args: Any) -> Any:
        """One XADD; its result is published to a channel of this process, and not looked up."""
        entry = _entry(name, args)
        told = self._asked[entry["i"].encode()] = asyncio.get_running_loop().create_future()
        if self._listening is None:
            channel = self.redis.pubsub(ignore_subscribe_messages=True)
            await channel.subscribe(self._channel)
            await channel.parse_response()  # it listens now
            self._listening = asyncio.create_task(self._listen(channel))
        await self.redis.xadd(STREAM, {**entry, "c": self._channel})
        return json.loads(await told)

    async def work(self) -> None:
        """Batch after batch."""
        while True:
            answer: Any = await self.redis.xreadgroup(
                CONSUMER_GROUP, "consumer", {STREAM: ">"}, count=_BATCH, block=1000
            )
            if answer:
                work.TALLY.start()
                results = [
                    (entry, fields[b"i"], await _run(fields[b"d"]), fields.get(b"c"))
                    for entry, fields in answer[0][1]
                ]
                await self.settle(results)
                for _ in results:
                    work.TALLY.note()

    async def settle(self, results: list[Result]) -> None:
        """Store the results, acknowledge and delete; tell who waits."""
        pipeline = self.redis.pipeline(transaction=False)
        for entry, task_id, result, channel in results:
            pipeline.set(b"r:" + task_id, result, ex=TTL)
            pipeline.xack(STREAM, CONSUMER_GROUP, entry)
            pipeline.xdel(STREAM, entry)
            if channel:
                pipeline.publish(channel, task_id + result)
        await pipeline.execute()

    async def _listen(self, channel: Any) -> None:
        async for message in channel.listen():
            told = message["data"]
            self._asked.pop(told[:_ID]).set_result(told[_ID:])


def _entry(name: str, args: Any) -> dict[Any, Any]:
    return {"i": uuid.uuid4().hex, "d": json.dumps([name, args])}


async def _run(body: bytes) -> bytes:
    name, args = json.loads(body)
    return json.dumps(await work.BARE[name](*args)).encode()


if __name__ == "__main__":
    perform(RawRedis)
