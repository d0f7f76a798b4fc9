"""The settings of an app and of its workers.

Precedence: command line, then what the program passes, then environment, then ``.env`` in the
current folder, then the defaults. ``docs/configuration.md`` is made from these classes.
"""

from chicory.config.app import ChicoryConfig
from chicory.config.doors import BackendConfig, BrokerConfig
from chicory.config.kinds import LogLevel
from chicory.config.nats import NatsBackendConfig, NatsBrokerConfig
from chicory.config.redis import RedisBackendConfig, RedisBrokerConfig
from chicory.config.sqlite import SQLiteBackendConfig, SQLiteBrokerConfig
from chicory.config.worker import WorkerConfig

__all__ = [
    "BackendConfig",
    "BrokerConfig",
    "ChicoryConfig",
    "LogLevel",
    "NatsBackendConfig",
    "NatsBrokerConfig",
    "RedisBackendConfig",
    "RedisBrokerConfig",
    "SQLiteBackendConfig",
    "SQLiteBrokerConfig",
    "WorkerConfig",
]
