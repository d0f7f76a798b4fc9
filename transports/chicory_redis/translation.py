"""The server's and redis-py's errors as chicory's: the one place where they are told apart.

An error raised within a script reaches us as plain text in servers before 7.0, hence the
search for words.
"""

from __future__ import annotations

from typing import cast

from redis.exceptions import (
    AskError,
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)

from chicory.errors import BrokerConnectionError, ChicoryError, ConfigurationError, QueueFullError
from chicory_redis.address import Address

_PASSING = ("LOADING", "CLUSTERDOWN", "TRYAGAIN", "MASTERDOWN", "NOREPLICAS", "BUSY ")
_PASSING_TYPES = (BusyLoadingError, ClusterDownError, TryAgainError, AskError)
_DENIED = "executing the script can't"
_NO_WRITES = ("READONLY", "MISCONF")

UNKNOWN_HOST = "?"
"""What a node of a cluster says that is to name another one, and has not been told its name."""


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
    return not _names_no_host(error) and (
        (isinstance(error, Lost) and not is_denied(error.cause))
        or isinstance(error, _PASSING_TYPES)
        or takes_no_writes(error)
        or _says(error, *_PASSING)
    )


def takes_no_writes(error: Exception) -> bool:
    """Whether this server takes no writes at present: after a failover another one may."""
    return isinstance(error, ReadOnlyError) or _says(error, *_NO_WRITES)


def named_place(error: AskError) -> tuple[str, int]:
    """Host and port of the node that has our keys, as another one says it."""
    return cast("tuple[str, int]", error.node_addr)  # pyright: ignore[reportUnknownMemberType]


def _names_no_host(error: BaseException) -> bool:
    return isinstance(error, AskError) and named_place(error)[0] == UNKNOWN_HOST


def _says(error: Exception, *words: str) -> bool:
    return isinstance(error, ResponseError) and any(word in str(error) for word in words)


def is_denied(error: BaseException) -> bool:
    """Whether the user lacks a permission; within a script no server says for which command."""
    text = str(error)
    return isinstance(error, NoPermissionError) or "NOPERM" in text or _DENIED in text


def is_refused_login(error: Exception) -> bool:
    """Whether the server wants another password, or one at all."""
    return isinstance(error, Lost) and isinstance(error.cause, AuthenticationError)


def translated(error: Exception, address: Address) -> ChicoryError:
    """The error to raise from ``error``: one sentence that names the server and the next step."""
    cause = error.cause if isinstance(error, Lost) else error
    if isinstance(cause, ChicoryError):
        return cause
    text = str(cause) or type(cause).__name__
    if isinstance(cause, OutOfMemoryError) or "OOM command" in text:
        return QueueFullError(
            f"{address} has reached its maxmemory; nothing was stored: "
            "raise maxmemory, or let workers catch up"
        )
    if wrong := _wrong_setup(cause, text):
        return ConfigurationError(f"{address}{wrong} ({text})")
    if isinstance(cause, TimeoutError):
        text = text if str(cause) else "it did not answer in time"
    if isinstance(cause, AskError):  # redis-py leaves slot and place of what the server said
        text = f"its cluster moves our keys ({text})"
    if is_refused_login(error):
        return BrokerConnectionError(f"{address} refuses the login: {text}")
    if isinstance(cause, ResponseError) and not is_passing(error):
        return ConfigurationError(f"{address} refuses a command: {text}")
    return BrokerConnectionError(f"{address} cannot be reached: {text}")


def _wrong_setup(cause: BaseException, text: str) -> str | None:
    """What somebody must change at the server, or in our settings."""
    if is_denied(cause):
        return ": the user lacks a permission; docs/redis.md lists what is needed"
    if "WRONGTYPE" in text:
        return ": a key of ours holds another program's data; choose another namespace or database"
    if _names_no_host(cause):
        return (
            " does not tell the host of the node that has our keys: set cluster-announce-hostname "
            "on each node, or cluster-preferred-endpoint-type ip"
        )
    return None


CLIENT_ERRORS = (RedisError, OSError, TimeoutError, RuntimeError)
"""What redis-py raises; ``RuntimeError`` is uvloop's for a connection that was closed."""
