"""The server's and redis-py's errors as chicory's: the one place where they are told apart.

An error raised within a script reaches us as plain text in servers before 7.0, hence the
search for words.
"""

from __future__ import annotations

from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    NoPermissionError,
    NoScriptError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)

from chicory.errors import BrokerConnectionError, ChicoryError, ConfigurationError, QueueFullError
from chicory_redis.address import Address

_PASSING = ("LOADING", "CLUSTERDOWN", "TRYAGAIN", "MASTERDOWN", "NOREPLICAS", "BUSY ", "UNBLOCKED")
_MOVED_ON = ("READONLY", "MISCONF")


class Lost(Exception):  # noqa: N818  (not an error yet: the call may be made again)
    """No answer came: the connection was not made, or broke, or was silent for too long.

    Attributes:
        cause: why, as the client library says it.
    """

    def __init__(self, cause: BaseException) -> None:
        super().__init__(str(cause) or type(cause).__name__)
        self.cause = cause


def is_unknown_script(error: Exception) -> bool:
    """Whether the server does not have the script, or lost it when it was restarted."""
    return isinstance(error, NoScriptError)


def is_passing(error: Exception) -> bool:
    """Whether the server will be able to answer in a while."""
    return (
        isinstance(error, Lost | BusyLoadingError)
        or is_moved_on(error)
        or (isinstance(error, ResponseError) and any(word in str(error) for word in _PASSING))
    )


def is_moved_on(error: Exception) -> bool:
    """Whether this server takes no writes at present: after a failover another one may."""
    return isinstance(error, ReadOnlyError) or any(word in str(error) for word in _MOVED_ON)


def translated(error: BaseException, address: Address) -> ChicoryError:
    """The error to raise from ``error``: one sentence that names the server and the next step."""
    cause = error.cause if isinstance(error, Lost) else error
    text = str(cause) or type(cause).__name__
    if isinstance(cause, AuthenticationError) or "NOAUTH" in text or "WRONGPASS" in text:
        return ConfigurationError(
            f"{address} refuses the login: check username and password ({text})"
        )
    if isinstance(cause, NoPermissionError) or "NOPERM" in text:
        return ConfigurationError(
            f"{address}: the user lacks a permission; docs/redis.md lists what is needed ({text})"
        )
    if "OOM" in text:
        return QueueFullError(
            f"{address} has reached its maxmemory; nothing was stored: "
            "raise maxmemory, or let workers catch up"
        )
    if "WRONGTYPE" in text:
        return ConfigurationError(
            f"{address}: a key of ours holds another program's data; choose another namespace "
            f"or database ({text})"
        )
    if isinstance(cause, TimeoutError):
        text = text if str(cause) else "it did not answer in time"
    if isinstance(cause, ResponseError) and not is_passing(cause):
        return ConfigurationError(f"{address} refuses a command: {text}")
    return BrokerConnectionError(f"{address} cannot be reached: {text}")


CLIENT_ERRORS = (RedisError, OSError, TimeoutError)
"""What redis-py raises."""
