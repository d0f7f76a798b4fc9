"""Whether a server can be used: looked at when a transport is opened."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping

from redis.exceptions import NoPermissionError, RedisError

from chicory.errors import BrokerConnectionError, ConfigurationError
from chicory_redis import keys
from chicory_redis.address import Address
from chicory_redis.server import Server
from chicory_redis.translation import UNKNOWN_HOST, Lost, is_refused_login, translated

OLDEST = (6, 2)
"""The version that brought the commands used here."""

_VERSION = re.compile(r"^(\d+)\.(\d+)")

logger = logging.getLogger("chicory.redis")


async def inspect(server: Server) -> None:
    """Refuse what cannot work; warn of what loses messages."""
    facts = await _facts(server, "server")
    check_version(server.address, facts.get("redis_version", ""))
    if (await _facts(server, "persistence")).get("loading") == "1":
        raise BrokerConnectionError(f"{server.address} is loading its data: try again")
    if (await _facts(server, "cluster")).get("cluster_enabled") == "1":
        await _learn_nodes(server)
    memory = await _facts(server, "memory")
    check_policy(server.address, memory.get("maxmemory_policy", ""), memory.get("maxmemory", "0"))
    await _check_layout(server)


def check_version(address: Address, version: str) -> None:
    """Raise ``ConfigurationError`` for a server that is too old."""
    found = _VERSION.match(version)
    if found and (int(found[1]), int(found[2])) < OLDEST:
        raise ConfigurationError(
            f"{address} is version {version}: chicory needs Redis 6.2 or later, or Valkey"
        )


def check_policy(address: Address, policy: str, maxmemory: str) -> None:
    """Raise ``ConfigurationError`` where the server would throw queues away when it is full."""
    if not policy.startswith(("allkeys", "volatile")):
        return
    text = f"{address} has maxmemory-policy {policy}"
    if policy.startswith("allkeys") and maxmemory != "0":
        raise ConfigurationError(
            f"{text}: it would delete whole queues when its memory is full; set it to noeviction"
        )
    if maxmemory != "0":
        logger.warning(
            "%s: it may delete results and unique keys when its memory is full; "
            "set it to noeviction",
            text,
        )


async def _check_layout(server: Server) -> None:
    """Refuse messages whose ids would not be found, so that one could be live twice."""
    index = keys.old_index(server.base)
    if await server.command("EXISTS", index):
        raise ConfigurationError(
            f"{server.address} holds messages under {server.base} as an older chicory kept them: "
            "let its workers finish those, or use another namespace; "
            f"once nothing waits there and no older worker runs, delete the key {index}"
        )


async def _learn_nodes(server: Server) -> None:
    """Other nodes can tell the way when the one of the URL is gone."""
    slots = await server.command_now("CLUSTER", "SLOTS")
    places = [((each[0] or b"").decode(), int(each[1])) for slot in slots for each in slot[2:]]
    named = [server.wire.named(host, port) for host, port in places if host != UNKNOWN_HOST]
    server.wire.learn(named)


async def _facts(server: Server, section: str) -> Mapping[str, str]:
    try:
        text = (await server.wire.call("INFO", section)).decode(errors="replace")
    except NoPermissionError:
        return {}
    except (Lost, RedisError) as error:
        if is_refused_login(error):
            raise ConfigurationError(
                f"{server.address} refuses the login: check username and password ({error})"
            ) from error
        raise translated(error, server.address) from error
    pairs = (line.partition(":") for line in text.splitlines() if ":" in line)
    return {name: value for name, _, value in pairs}
