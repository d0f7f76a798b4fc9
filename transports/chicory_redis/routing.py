"""Which server to connect to: the one of the URL, or the one that a cluster or Sentinel names."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from anyio import create_task_group

from chicory_redis.address import Address, Node
from chicory_redis.translation import CLIENT_ERRORS

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
        """The master, of the sentinel that answers first; ``ConnectionError`` where none knows."""
        answers: dict[Node, Node | str] = {}

        async def inquire(sentinel: Node) -> None:
            answers[sentinel] = answer = await self._inquire(ask, sentinel)
            if isinstance(answer, Node):
                group.cancel_scope.cancel()

        # at once: one whose machine is gone would take as long as connecting may, each time
        async with create_task_group() as group:
            for sentinel in self._sentinels:
                group.start_soon(inquire, sentinel)
        for answer in answers.values():
            if isinstance(answer, Node):
                return [answer]
        reasons = "; ".join(str(answers[sentinel]) for sentinel in self._sentinels)
        raise ConnectionError(f"no sentinel names the master: {reasons}")

    async def _inquire(self, ask: Ask, sentinel: Node) -> Node | str:
        """The master, or why this sentinel does not name it."""
        name = f"{sentinel.host}:{sentinel.port}"
        try:
            answer = await ask(sentinel, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._service)
        except CLIENT_ERRORS as error:
            return f"{name}: {str(error) or type(error).__name__}"
        if not answer:
            return f"{name} knows no {self._service!r}"
        return Node(answer[0].decode(), int(answer[1]))


def route_to(address: Address) -> Direct:
    """The way to an address."""
    return Sentinel(address) if address.service else Direct(address)
