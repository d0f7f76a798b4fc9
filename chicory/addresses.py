"""Where the two doors of an app lead: the URL for what a user wrote, or configured."""

from __future__ import annotations

from typing import Any

from msgspec import UnsetType

from chicory.config import ChicoryConfig
from chicory.errors import ConfigurationError
from chicory.states import BackendType, BrokerType


def of_broker(config: ChicoryConfig, broker: Any) -> str:
    """The broker's URL. Raises ``ConfigurationError`` for what can name none."""
    match broker:
        case BrokerType() | None:
            return config.broker.address(broker)
        case BackendType():  # the same word
            return config.broker.address(BrokerType(broker.value))
        case str():
            return broker
        case _:
            raise ConfigurationError(
                f"Chicory(broker={_kind(broker)}): must be a URL as text, or a BrokerType"
            )


def of_backend(config: ChicoryConfig, backend: Any, broker_url: str) -> str | None:
    """The backend's URL, ``None`` for no results. Raises as ``of_broker`` does."""
    match backend:
        case UnsetType():
            return config.backend.url or broker_url
        case BackendType() | BrokerType():
            return config.backend.address(BackendType(backend.value))
        case str() | None:
            return backend
        case _:
            raise ConfigurationError(
                f"Chicory(backend={_kind(backend)}): must be a URL as text, a BackendType or None"
            )


def _kind(value: object) -> str:
    return f"{type(value).__name__}(...)"  # a login may be in it, in whatever form
