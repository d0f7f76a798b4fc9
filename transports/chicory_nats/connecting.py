"""Making a client, and ending it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from chicory.errors import ChicoryError
from chicory_nats.address import Address
from chicory_nats.client import Client
from chicory_nats.denials import Denial
from chicory_nats.login import mistake
from chicory_nats.parser import Hook
from chicory_nats.translation import connection_error, one_of

_TIMEOUT = 2
_PING_INTERVAL = 5
_UNSENT = 64 << 20


async def connect(
    address: Address,
    hooks: dict[int, Hook],
    on_end: Callable[[Client], None],
    deny: Callable[[Denial], None],
) -> Client:
    """A client of the first server that takes it, each tried once in the order given.

    ``on_end(client)`` is called once it is closed, by whomever; ``deny(denial)`` whenever the
    server says that something is not permitted.

    Raises a ``ChicoryError`` that says of each server why it does not.
    """
    failures: list[ChicoryError] = []
    for server in address.servers:
        client = Client(hooks, deny)
        try:
            await client.connect(server, **_options(address, client, on_end))
        except Exception as error:  # noqa: BLE001  (nats-py raises what it comes across)
            shows_none = client.wants_certificate and not address.tls_cert
            failures.append(
                mistake(address) or connection_error(server, error, shows_none=shows_none)
            )
            client.abort()  # its ``close`` would wait for ever where TLS has failed
            _mind_cancellation()
        except BaseException:
            client.abort()
            raise
        else:
            return client
    raise one_of(failures)


async def end(client: Client) -> None:
    """Close a client, whatever is left of it."""
    try:
        with suppress(Exception):
            async with asyncio.timeout(_TIMEOUT):
                await client.close()
    finally:
        client.abort()


def _options(address: Address, client: Client, on_end: Callable[[Client], None]) -> dict[str, Any]:
    async def closed() -> None:
        on_end(client)

    async def report(error: Exception) -> None:
        client.failure = error

    return {
        "closed_cb": closed,
        "error_cb": report,
        "allow_reconnect": False,
        "connect_timeout": _TIMEOUT,
        "ping_interval": _PING_INTERVAL,
        "max_outstanding_pings": 2,
        "skip_subject_validation": True,
        "pending_size": _UNSENT,
        **address.options(),
    }


def _mind_cancellation() -> None:
    """Raise a cancellation that was swallowed, as ``asyncio.wait_for`` does until Python 3.11."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
