"""The NATS JetStream transport: one work-queue stream for each namespace."""

from chicory_nats.transport import NatsTransport

__all__ = ["NatsTransport"]
