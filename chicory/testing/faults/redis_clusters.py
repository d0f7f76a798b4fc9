"""Redis and Valkey, under faults: several servers, one of which takes over from another."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Literal

from anyio import to_thread

from chicory.testing.faults.redis_stages import ask, program, server
from chicory.testing.faults.servers import Server, await_that, free_port
from chicory.testing.faults.stage import Death, Stage

LAG = 2.0
"""Seconds by which a replica may be behind its primary: what a failover may lose."""
DOWN = 2000
"""Milliseconds of silence after which a primary counts as dead: more than a crowded machine's."""
SILENCE = "answer_timeout=1.5&connect_timeout=1"
"""When a worker asks elsewhere: a server that stands still still takes connections. Less than
``DOWN``: what another server has replaced may not be believed when it comes to."""
STALE = 1.0
"""Seconds for which a primary that stood still does not know that it is none any more."""
SERVICE = "chicory"
SLOTS = 16384
_BUS = 10000


class RedisSentinelStage(Stage):
    """A primary, two replicas, and a sentinel that has one of these take over.

    Who has no replica that keeps up takes no writes. So a primary that stood still, and does not
    know yet that another one has taken over, accepts nothing that would be lost with it.
    """

    forgets = LAG

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.software = str(program())
        self._ports = [free_port() for _ in range(3)]
        self._nodes: list[Server] = []
        self._primary = self._gone = 0
        self._sentinel_port = free_port()
        settings = folder / "sentinel.conf"
        settings.write_text(
            f"port {self._sentinel_port}\nbind 127.0.0.1\ndir {folder}\n"
            f"sentinel monitor {SERVICE} 127.0.0.1 {self._ports[0]} 1\n"
            f"sentinel down-after-milliseconds {SERVICE} {DOWN}\n"
            f"sentinel failover-timeout {SERVICE} {3 * DOWN}\n"
        )
        self._sentinel = Server(
            [str(program().path), str(settings), "--sentinel"],
            folder,
            self._sentinel_port,
            (b"PING\r\n", b"+PONG"),
        )

    def url(self, port: int | None) -> str:
        """The sentinel."""
        assert port is None
        server = f"127.0.0.1:{self._sentinel_port}"
        return f"redis+sentinel://{server}/{SERVICE}?{SILENCE}"

    def start(self) -> None:
        """Start all, and have them know each other."""
        self._nodes = [self._node(number, self._ports[0]) for number in range(3)]
        for each in (*self._nodes, self._sentinel):
            each.start()
        ask(self._ports[0], "REPLICAOF", "NO", "ONE")
        for number in (1, 2):
            self._await_replica(number)

    def kill(self) -> None:
        """Kill all."""
        for each in (*self._nodes, self._sentinel):
            each.kill()

    def deaths(self) -> Mapping[str, Death]:
        """The primary's; and that it stands still, and goes on as if it were the primary."""
        return {
            "primary killed": Death(
                partial(to_thread.run_sync, partial(self._fail_over, "kill")),
                partial(to_thread.run_sync, self._rejoin),
            ),
            "primary stands still": Death(
                partial(to_thread.run_sync, partial(self._fail_over, "stop")),
                partial(to_thread.run_sync, self._come_to),
            ),
        }

    def _node(self, number: int, primary: int) -> Server:
        home = self.folder / str(number)
        home.mkdir(exist_ok=True)
        options = ("--min-replicas-to-write", "1", "--replicaof", "127.0.0.1", str(primary))
        return server(home, self._ports[number], *options)

    def _fail_over(self, how: Literal["kill", "stop"]) -> None:
        self._gone = self._primary
        primary = self._nodes[self._gone]
        primary.kill() if how == "kill" else primary.stop()
        await_that(self._finds_heir, "no replica takes over")

    def _finds_heir(self) -> bool:
        for number, port in enumerate(self._ports):
            if number != self._gone:
                said = _replication(port)
                if b"role:master" in said and b"min_slaves_good_slaves:0" not in said:
                    self._primary = number
                    return True
        return False

    def _rejoin(self) -> None:
        self._nodes[self._gone] = self._node(self._gone, self._ports[self._primary])
        self._nodes[self._gone].start()
        self._await_replica(self._gone)

    def _come_to(self) -> None:
        """Go on; be told after a while, as a sentinel does, who the primary is now."""
        self._nodes[self._gone].resume()
        time.sleep(STALE)
        ask(self._ports[self._gone], "REPLICAOF", "127.0.0.1", str(self._ports[self._primary]))
        self._await_replica(self._gone)

    def _await_replica(self, number: int) -> None:
        port = self._ports[number]
        known = f"{port}\r\n".encode(), b"master-link-status\r\n$2\r\nok"
        await_that(lambda: b"link_status:up" in _replication(port), "the replica gets no data")
        await_that(
            lambda: all(
                part in ask(self._sentinel_port, "SENTINEL", "REPLICAS", SERVICE) for part in known
            ),
            "the sentinel does not know the replica",
        )


class RedisClusterStage(Stage):
    """Three nodes that share the slots, and one that takes over from that which has our keys."""

    forgets = LAG

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.software = str(program())
        self._ports = [_cluster_port() for _ in range(4)]
        self._nodes: list[Server] = []
        for number, port in enumerate(self._ports):
            home = folder / str(number)
            home.mkdir()
            options = ("--cluster-enabled", "yes", "--cluster-node-timeout", str(DOWN))
            self._nodes.append(server(home, port, *options))
        self._owner, self._heir = 0, 3

    def url(self, port: int | None) -> str:
        """Two nodes that have none of our keys."""
        assert port is None
        others = [self._ports[n] for n in range(4) if n not in {self._owner, self._heir}]
        return f"redis://127.0.0.1:{others[0]}"

    def start(self) -> None:
        """Start all, and have them know each other."""
        for node in self._nodes:
            node.start()
        for number, port in enumerate(self._ports):
            if number != self._heir:
                first, end = SLOTS * number // 3, SLOTS * (number + 1) // 3
                ask(port, "CLUSTER", "ADDSLOTS", *map(str, range(first, end)))
            ask(port, "CLUSTER", "MEET", "127.0.0.1", str(self._ports[0]))
        for port in self._ports:
            await_that(
                lambda port=port: b"cluster_state:ok" in ask(port, "CLUSTER", "INFO"),
                "the nodes do not find each other",
            )
        slot = int(ask(self._ports[0], "CLUSTER", "KEYSLOT", "{chicory}")[1:])
        self._owner = next(n for n in range(3) if slot < SLOTS * (n + 1) // 3)
        name = ask(self._ports[self._owner], "CLUSTER", "MYID").split(b"\r\n")[1].decode()
        await_that(
            lambda: ask(self._ports[self._heir], "CLUSTER", "REPLICATE", name).startswith(b"+"),
            "no node becomes a replica",
        )
        self._await_replica()

    def kill(self) -> None:
        """Kill all."""
        for node in self._nodes:
            node.kill()

    def deaths(self) -> Mapping[str, Death]:
        """That of the node which has our keys."""
        return {
            "node killed": Death(
                partial(to_thread.run_sync, self._fail_over),
                partial(to_thread.run_sync, self._rejoin),
            )
        }

    def _fail_over(self) -> None:
        self._nodes[self._owner].kill()
        port = self._ports[self._heir]
        await_that(lambda: b"role:master" in _replication(port), "no replica takes over")
        self._owner, self._heir = self._heir, self._owner

    def _rejoin(self) -> None:
        self._nodes[self._heir].start()
        self._await_replica()

    def _await_replica(self) -> None:
        port = self._ports[self._heir]
        await_that(lambda: b"link_status:up" in _replication(port), "the replica gets no data")


def _replication(port: int) -> bytes:
    return ask(port, "INFO", "replication")


def _cluster_port() -> int:
    """A free port of which the bus's port can be one, too."""
    while (port := free_port()) + _BUS >= 1 << 16:
        pass
    return port
