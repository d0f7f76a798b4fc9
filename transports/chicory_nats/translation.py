"""What NATS says as chicory's errors: the one place where they are told apart."""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from typing import Any

import nats.errors

from chicory.errors import (
    BrokerConnectionError,
    ChicoryError,
    ConfigurationError,
    MessageTooLargeError,
    QueueFullError,
)
from chicory_nats.address import Address
from chicory_nats.wire import Problem

NOT_READY = frozenset({10008, 10049, 10176, 10167, 10174})
"""JetStream is starting, or overrun: what was asked was not done, and may be asked again."""
_FULL = frozenset({10002, 10023, 10028, 10047, 10077, 10110})
_TOO_LARGE = frozenset({10054, 10199})
"""In bytes, or in messages of one step: the server takes 1,000."""
_CLASH = frozenset({10058, 10065, 10148, 10013})
NOT_FOUND = frozenset({10014, 10037, 10043, 10057, 10059})


def connection_error(server: str, error: Exception, *, shows_none: bool = False) -> ChicoryError:
    """Why a connection with a server cannot be made.

    ``shows_none``: it wants a certificate of ours. It may hang up on who has none without a word.
    """
    text = str(error).lower()
    if isinstance(error, ChicoryError):
        return error
    if isinstance(error, nats.errors.AuthorizationError) or "authorization" in text:
        return BrokerConnectionError(f"{server} refused the login: check the user and password")
    if shows_none and not isinstance(error, ssl.SSLCertVerificationError):
        return BrokerConnectionError(
            f"{server} asks for a certificate: give tls_cert and tls_key "
            f"({str(error) or type(error).__name__})"
        )
    if isinstance(error, ssl.SSLError):
        return _tls_error(server, error)
    if isinstance(error, TimeoutError):
        return BrokerConnectionError(f"{server} did not answer")
    return BrokerConnectionError(
        f"{server} cannot be reached: {str(error) or type(error).__name__}"
    )


def _tls_error(server: str, error: ssl.SSLError) -> ChicoryError:
    if isinstance(error, ssl.SSLCertVerificationError):
        return BrokerConnectionError(
            f"{server}: the server's certificate is refused: {error.verify_message} "
            "(tls_ca=FILE names the authority to trust)"
        )
    return BrokerConnectionError(f"{server}: TLS failed: {error.reason or error}")


def one_of(errors: Sequence[ChicoryError]) -> ChicoryError:
    """One error that says what all of them say, in order."""
    *_, last = errors
    return type(last)("; ".join(dict.fromkeys(map(str, errors))))


def denied(address: Address, subject: bytes, *, hears: bool) -> ConfigurationError:
    """The error to raise where the user may not send to a subject, or not hear it."""
    what = "subscribe to" if hears else "publish to"
    return ConfigurationError(
        f"{address}: the user lacks a permission; docs/nats.md lists what is needed "
        f"(may not {what} {subject.decode(errors='replace')})"
    )


def nobody_answers(address: Address, server: Mapping[str, Any]) -> str:
    """Why nobody takes a request although there is a connection; ``server``: says of itself."""
    if address.domain:
        return f"no JetStream domain {address.domain!r} is known there"
    if not server.get("jetstream"):
        return "JetStream is off: start the server with -js"
    return "nobody takes the request: see the log of nats-server"


def translated(problem: Problem, address: Address) -> ChicoryError:
    """The error to raise for an error of JetStream."""
    code, text = problem.err_code, problem.description
    if code in _FULL:
        return QueueFullError(f"{address} has no room left ({text}); nothing was stored")
    if code in _TOO_LARGE:
        return MessageTooLargeError(f"{address}: too large for the stream ({text})")
    if code in _CLASH:
        return ConfigurationError(f"{address}: {text}")
    return BrokerConnectionError(f"{address}: {text or 'unknown error'} ({code})")
