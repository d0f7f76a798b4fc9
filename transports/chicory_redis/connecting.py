"""Making connections of redis-py, with none of its defaults left to chance.

redis-py retries by itself, times reads out and resends commands that may have been executed:
defaults that changed between its versions and lose or double messages. Here it connects,
authenticates and parses; when to try again is decided where it is known what was sent.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    SSLConnection,
    UnixDomainSocketConnection,
)
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from chicory_redis.address import Address, Tls

_PROTOCOL = 2


class Connector:
    """Makes connections to one address."""

    def __init__(self, address: Address, client_name: str) -> None:
        self.address = address
        self._name = client_name

    async def connect(self) -> AbstractConnection:
        """A connection that is authenticated and has its database selected.

        Raises an error of redis-py, ``OSError`` or ``TimeoutError``.
        """
        connection = self._make()
        try:
            async with asyncio.timeout(self.address.connect_timeout):
                await connection.connect()
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        return connection

    def _make(self) -> AbstractConnection:
        address = self.address
        common: dict[str, Any] = {
            "db": address.db,
            "username": address.username,
            "password": address.password,
            "client_name": self._name,
            "protocol": _PROTOCOL,
            "socket_timeout": None,
            "socket_connect_timeout": address.connect_timeout,
            "retry": Retry(NoBackoff(), 0),
            "retry_on_timeout": False,
            "retry_on_error": [],
            "health_check_interval": 0,
            "decode_responses": False,
        }
        if address.path:
            return UnixDomainSocketConnection(path=address.path, **common)
        common |= {"host": address.host, "port": address.port, "socket_keepalive": True}
        if address.tls is not None:
            return SSLConnection(**common, **_tls_options(address.tls))
        return Connection(**common)


def _tls_options(tls: Tls) -> dict[str, Any]:
    return {
        "ssl_ca_certs": tls.ca_certs,
        "ssl_certfile": tls.certfile,
        "ssl_keyfile": tls.keyfile,
        "ssl_cert_reqs": ssl.CERT_REQUIRED if tls.verify else ssl.CERT_NONE,
        "ssl_check_hostname": tls.verify,
    }
