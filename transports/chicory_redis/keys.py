"""Names in the server's key space. ``scripts/keys.lua`` has the layout below the base."""

from __future__ import annotations

import re

_RESERVED = re.compile(r"[{}%]")


def base(prefix: str, namespace: str) -> str:
    """The base of all keys of a namespace, with the hash tag that puts them into one slot.

    One slot, because the port's promises reach across queues: an id is live once in a namespace,
    a settlement publishes to other queues, and a script is atomic within a slot only.
    """
    return f"{prefix}{{{_RESERVED.sub(lambda found: f'%{ord(found[0]):02x}', namespace)}}}"


def old_index(base: str) -> str:
    """Where live messages were listed before the index had parts; gone with the last of them."""
    return f"{base}:m"


def record(base: str, task_id: str) -> str:
    """The key of a record, and the channel on which its changes are told."""
    return f"{base}:r:{task_id}"


def wakes(base: str, client: str) -> str:
    """The channel on which the fetches of a client are woken."""
    return f"{base}:c:{client}"


def channels(base: str) -> str:
    """All channels of a namespace, as a user is given them in the server's ACL."""
    return f"&{base}:*"


def place(priority: int, entry: bytes, queue: str) -> bytes:
    """Where a leased message is, as the scripts write it."""
    return b"%d%b %b" % (priority, entry, queue.encode())
