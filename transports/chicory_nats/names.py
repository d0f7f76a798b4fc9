"""Any text as one token of a NATS subject, which is also fit for the name of a consumer."""

from __future__ import annotations

import re
from functools import lru_cache
from hashlib import sha256

_PLAIN = re.compile(r"[A-Za-z0-9_-]{1,80}")
_LONGEST = 80
_HASHED = "~"
HASHED = _HASHED.encode()
"""What the token of a text begins with that does not tell the text."""
NOTHING = "~"
"""A token that stands for no text."""


def token(text: str) -> str:
    """The token for a text; different texts have different tokens.

    Letters, digits, ``_`` and ``-`` stand for themselves, other characters are written as
    ``=XX`` for each byte of UTF-8. What would be too long for a subject is hashed.
    """
    if _PLAIN.fullmatch(text):
        return text
    return _escape(text)


def text_of(name: str) -> str | None:
    """The text of a token; ``None`` where it was hashed."""
    if "=" not in name:
        return None if name.startswith(_HASHED) else name
    head, *rest = name.split("=")
    raw = head.encode() + b"".join(bytes.fromhex(part[:2]) + part[2:].encode() for part in rest)
    return raw.decode("utf-8", "surrogatepass")


@lru_cache(4096)
def _escape(text: str) -> str:
    raw = text.encode("utf-8", "surrogatepass")
    escaped = "".join(
        chr(byte) if _PLAIN.fullmatch(chr(byte)) and byte < 128 else f"={byte:02X}"  # noqa: PLR2004
        for byte in raw
    )
    if len(escaped) <= _LONGEST:
        return escaped
    return _HASHED + sha256(raw).hexdigest()
