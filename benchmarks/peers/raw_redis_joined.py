"""The loop of ``raw_redis`` with one XACK and one XDEL for a whole batch: as lean as it gets."""
# pyright: basic

from __future__ import annotations

from benchmarks.peers.raw_redis import CONSUMER_GROUP, STREAM, TTL, RawRedis, Result
from benchmarks.peers.stage import perform


class RawRedisJoined(RawRedis):
    """Each task costs a SET with a TTL, each batch an XACK and an XDEL."""

    async def settle(self, results: list[Result]) -> None:
        """Store the results, acknowledge and delete."""
        pipeline = self.redis.pipeline(transaction=False)
        for _, task_id, result, _ in results:
            pipeline.set(b"r:" + task_id, result, ex=TTL)
        entries = [entry for entry, *_ in results]
        pipeline.xack(STREAM, CONSUMER_GROUP, *entries)
        pipeline.xdel(STREAM, *entries)
        await pipeline.execute()


if __name__ == "__main__":
    perform(RawRedisJoined)
