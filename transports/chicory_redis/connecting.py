"""Making connections of redis-py, with none of its defaults left to chance.

redis-py retries by itself, times reads out and resends commands that may have been executed:
defaults that changed between its versions and lose or double messages. Here it connects,
authenticates and parses; when to try again is decided where it is known what was sent.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any, cast

from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    SSLConnection,
    UnixDomainSocketConnection,
)
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from chicory_redis.address import Address, Node, Tls
from chicory_redis.certificates import check
from chicory_redis.routing import route_to
from chicory_redis.translation import CLIENT_ERRORS

_PROTOCOL = 2


class Connector:
    """Makes connections to one address.

    Attributes:
        address: what the URL says.
        route: which server that is at the moment.
        on_move: called with the server that commands go to, whenever they may go to another one.
    """

    def __init__(self, address: Address, client_name: str) -> None:
        self.address = address
        self.route = route_to(address)
        self.on_move: Callable[[Node], object] = lambda _: None
        self._name = client_name

    async def connect(self) -> tuple[AbstractConnection, Node]:
        """A connection that is authenticated and has its database selected, and where it leads.

        Raises an error of redis-py, ``OSError`` or ``TimeoutError``; ``ConfigurationError`` where
        a file for TLS cannot be used.
        """
        try:
            return await self._connect_to_one()
        except CLIENT_ERRORS:
            if self.address.tls is not None:
                check(self.address.tls)
            raise

    async def _connect_to_one(self) -> tuple[AbstractConnection, Node]:
        address, failure = self.address, None
        login = {"username": address.username, "password": address.password, "db": address.db}
        for node in await self.route.nodes(self._ask):
            try:
                return await self._connect(node, login), node
            except CLIENT_ERRORS as error:
                failure = failure or error
        assert failure is not None
        raise failure

    def moved(self, node: Node) -> None:
        """Connect to this node of the cluster from now on."""
        self.route.moved(node)
        self.on_move(node)

    async def _connect(self, node: Node, login: dict[str, Any]) -> AbstractConnection:
        connection = self._make(node, login)
        try:
            async with asyncio.timeout(self.address.connect_timeout):
                await connection.connect()
        except BaseException:
            await hang_up(connection)
            raise
        return connection

    async def _ask(self, node: Node, *command: str) -> Any:
        """A sentinel's answer to a command."""
        login = {"password": self.address.sentinel_password}
        connection = await self._connect(node, login)
        try:
            async with asyncio.timeout(self.address.connect_timeout):
                await connection.send_command(*command)
                return cast("Any", await connection.read_response())
        finally:
            await hang_up(connection)

    def _make(self, node: Node, login: dict[str, Any]) -> AbstractConnection:
        address = self.address
        common: dict[str, Any] = {
            **login,
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
        common |= {"host": node.host, "port": node.port, "socket_keepalive": True}
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


async def hang_up(connection: AbstractConnection) -> None:
    """Disconnect at once.

    TLS would first wait for the other end's farewell, which may never come, or come when the
    event loop has ended: then the socket would stay open.
    """
    writer = connection._writer  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    await connection.disconnect(nowait=True)
    if writer is not None and isinstance(connection, SSLConnection):
        writer.transport.abort()
        await asyncio.sleep(0)  # it closes the socket in the next turn
