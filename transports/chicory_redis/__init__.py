"""The transport on Redis Streams."""

from chicory_redis.transport import RedisTransport

__all__ = ["RedisTransport"]
