"""The brokers that chicory has a transport for, by name."""

from __future__ import annotations

from collections.abc import Mapping

from chicory.testing.faults.nats_stages import NatsClusterStage, NatsDiskStage, NatsStage
from chicory.testing.faults.redis_clusters import RedisClusterStage, RedisSentinelStage
from chicory.testing.faults.redis_stages import (
    RedisDiskStage,
    RedisEverysecStage,
    RedisStage,
)
from chicory.testing.faults.sqlite_stage import SQLiteStage
from chicory.testing.faults.stage import Stage

STAGES: Mapping[str, type[Stage]] = {
    "sqlite": SQLiteStage,
    "redis": RedisStage,
    "redis-everysec": RedisEverysecStage,
    "redis-disk": RedisDiskStage,
    "redis-sentinel": RedisSentinelStage,
    "redis-cluster": RedisClusterStage,
    "nats": NatsStage,
    "nats-disk": NatsDiskStage,
    "nats-cluster": NatsClusterStage,
}
"""By the name that the command takes."""
