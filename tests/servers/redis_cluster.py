"""Clusters and sentinels of a test's own."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from servers.redis import RedisServer, free_port

SLOTS = 16384
_BUS = 10000
_PATIENCE = 60.0


@contextmanager
def cluster(binary: Path, folder: Path, size: int = 3) -> Iterator[list[RedisServer]]:
    """Nodes that share the slots evenly."""
    with ExitStack() as stack:
        nodes: list[RedisServer] = []
        for number in range(size):
            home = folder / f"node {number}"
            home.mkdir()
            options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "2000")
            node = RedisServer(binary, home, options, port=_cluster_port())
            nodes.append(stack.enter_context(node))
        for number, node in enumerate(nodes):
            first, end = SLOTS * number // size, SLOTS * (number + 1) // size
            node.command("CLUSTER", "ADDSLOTS", *range(first, end))
            node.command("CLUSTER", "MEET", "127.0.0.1", nodes[0].port)
        for node in nodes:
            _await(lambda node=node: b"cluster_state:ok" in raw(node, "CLUSTER", "INFO"))
        yield nodes


def raw(node: RedisServer, *command: str | int) -> bytes:
    """The text of an answer."""
    answer = node.command(*command)
    if isinstance(answer, dict):
        return "\n".join(f"{key}:{value}" for key, value in answer.items()).encode()
    return answer if isinstance(answer, bytes) else str(answer).encode()


def move_slot(slot: int, source: RedisServer, target: RedisServer) -> None:
    """Move a slot with its keys, as ``redis-cli --cluster reshard`` does."""
    here = raw(source, "CLUSTER", "MYID").decode()
    there = raw(target, "CLUSTER", "MYID").decode()
    target.command("CLUSTER", "SETSLOT", slot, "IMPORTING", here)
    source.command("CLUSTER", "SETSLOT", slot, "MIGRATING", there)
    while keys := source.command("CLUSTER", "GETKEYSINSLOT", slot, 100):
        source.command("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
    for node in (target, source):
        node.command("CLUSTER", "SETSLOT", slot, "NODE", there)


@contextmanager
def sentinel(binary: Path, folder: Path, master: RedisServer, service: str) -> Iterator[int]:
    """A sentinel that decides alone, on the port that is yielded."""
    port = free_port()
    settings = folder / "sentinel.conf"
    settings.write_text(
        f"port {port}\nbind 127.0.0.1\ndir {folder}\n"
        f"sentinel monitor {service} 127.0.0.1 {master.port} 1\n"
        f"sentinel down-after-milliseconds {service} 500\n"
        f"sentinel failover-timeout {service} 3000\n"
    )
    with (folder / "sentinel.log").open("ab") as log:
        command = [str(binary), str(settings), "--sentinel"]
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        _await(lambda: _accepts(port))
        yield port
    finally:
        process.kill()
        process.wait()


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _cluster_port() -> int:
    """A free port whose bus port is free too."""
    while True:
        port = free_port()
        if port + _BUS < 1 << 16 and not _accepts(port + _BUS):
            return port


def _await(condition) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("the servers do not find each other")
        time.sleep(0.02)
