"""What passes between clients and a server, as the server or a subscriber sees it."""

from __future__ import annotations

import asyncio
import re
import socket
import time
from collections import Counter
from urllib.parse import urlsplit

from nats.aio.client import Client
from nats.aio.msg import Msg

_LINE = re.compile(rb'^\+\d+\.\d+ \[\d+ (\S+)\] "([^"]*)"(?: "([^"]*)")?')
_GLANCE = 0.2


def seen(url: str, seconds: float) -> Counter[str]:
    """What passes in the next seconds."""
    if url.startswith("redis"):
        return redis(url, seconds)
    return asyncio.run(nats(url, seconds))


def redis(url: str, seconds: float) -> Counter[str]:
    """The commands of the next seconds: ``EVALSHA digest``, ``PING``; ``lua XADD`` in a script."""
    lines = _monitored(url, seconds).split(b"\r\n")
    return Counter(named for line in lines if (named := _command(line)))


def _monitored(url: str, seconds: float) -> bytes:
    place = urlsplit(url)
    with socket.create_connection((place.hostname or "", place.port or 0)) as line:
        line.sendall(b"MONITOR\r\n")
        line.settimeout(_GLANCE)
        end = time.monotonic() + seconds
        heard = bytearray()
        while time.monotonic() < end:
            try:
                heard += line.recv(65536)
            except TimeoutError:
                continue
    return bytes(heard)


def _command(line: bytes) -> str | None:
    found = _LINE.match(line)
    if not found:
        return None
    source, word, argument = (part.decode() for part in found.groups(b""))
    if source == "lua":
        return f"lua {word.upper()}"
    return f"{word.upper()} {argument}" if word.upper() == "EVALSHA" else word.upper()


async def nats(url: str, seconds: float) -> Counter[str]:
    """The messages of the next seconds, by the first tokens of their subjects."""
    messages: Counter[str] = Counter()

    async def note(message: Msg) -> None:
        tokens = message.subject.split(".")
        messages[".".join(tokens[: 4 if tokens[0] == "$JS" else 1])] += 1

    client = Client()
    await client.connect(url)
    await client.subscribe(">", cb=note)  # pyright: ignore[reportUnknownMemberType]
    await client.flush()
    await asyncio.sleep(seconds)
    await client.close()
    return messages
