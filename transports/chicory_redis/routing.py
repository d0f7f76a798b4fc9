"""Which server to connect to: the one of the URL, or the one that a cluster or Sentinel names."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from redis.exceptions import RedisError

from chicory_redis.address import Address, Node

Ask = Callable[..., Awaitable[Any]]
"""Sends a command to a node: ``ask(node, *command)``."""


class Direct:
    """The server of the URL; in a cluster, whichever node has the slot of our keys."""

    def __init__(self, address: Address) -> None:
        self._first = address.nodes[0]
        self._owner: Node | None = None
        self._others: Sequence[Node] = ()

    async def nodes(self, ask: Ask) -> Sequence[Node]:  # noqa: ARG002  (Sentinel needs it)
        """Where to try, the likeliest first. Any node of a cluster knows which one it is."""
        owner = [self._owner] if self._owner else []
        return [*dict.fromkeys([*owner, self._first, *self._others])]

    def moved(self, node: Node) -> None:
        """The cluster says that our keys are there."""
        self._owner = node

    def learn(self, nodes: Sequence[Node]) -> None:
        """These are nodes of the cluster."""
        self._others = nodes


class Sentinel(Direct):
    """The master of a service, as the sentinels have it at the moment."""

    def __init__(self, address: Address) -> None:
        super().__init__(address)
        self._sentinels = address.nodes
        self._service = address.service

    async def nodes(self, ask: Ask) -> Sequence[Node]:
        """The master. Raises ``ConnectionError`` where no sentinel knows it."""
        reasons: list[str] = []
        for sentinel in self._sentinels:
            try:
                answer = await ask(sentinel, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._service)
            except (RedisError, OSError) as error:
                reasons.append(f"{sentinel.host}:{sentinel.port}: {error or type(error).__name__}")
                continue
            if answer:
                return [Node(answer[0].decode(), int(answer[1]))]
            reasons.append(f"{sentinel.host}:{sentinel.port} knows no {self._service!r}")
        raise ConnectionError(f"no sentinel names the master: {'; '.join(reasons)}")


def route_to(address: Address) -> Direct:
    """The way to an address."""
    return Sentinel(address) if address.service else Direct(address)
