"""The seal of a message: its signature, which only who has the key can make.

A sealed message is a msgpack array: 2, the id of the key, the signature, and the bytes of the
message; it begins with ``MARK``. The signature is HMAC-SHA256, with the key's secret, over
``CONTEXT`` and those bytes.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping

import msgspec
from msgspec import Struct

from chicory import codec
from chicory.errors import ConfigurationError, MessageSignatureError

VERSION = 2
MARK = b"\x94\x02"
CONTEXT = b"chicory.message\x00"
MIN_SECRET = 32
"""Characters of a secret."""
MAX_KEY_ID = 64


class _Sealed(Struct, array_like=True):
    version: int
    key_id: str
    signature: bytes
    body: bytes


_sealed = msgspec.msgpack.Decoder(_Sealed)


class Seal:
    """Closes messages with the first of its keys, and opens those closed with any of them.

    Without keys it closes nothing, and opens every message without a look at its signature.

    Args:
        keys: ``id:secret``, several with spaces or commas between them; the first one signs.
        required: whether messages without a signature are refused.

    Raises ``ConfigurationError`` for keys that are none; it shows no secret.
    """

    def __init__(self, keys: str | None = None, *, required: bool = True) -> None:
        self._secrets: Mapping[str, bytes] = {} if keys is None else _parse(keys)
        self._key_id, self._secret = next(iter(self._secrets.items()), ("", b""))
        self._required = required and bool(self._secrets)

    @property
    def closes(self) -> bool:
        """Whether there is a key to close messages with."""
        return bool(self._secrets)

    def close(self, body: bytes) -> bytes:
        """The message, sealed where there is a key."""
        if not self._secrets:
            return body
        signature = _sign(self._secret, body)
        return codec.encode(_Sealed(VERSION, self._key_id, signature, body))

    def open(self, body: bytes) -> bytes:
        """The message within.

        Raises ``MessageSignatureError`` where there are keys and none of them has sealed it as it
        is, or it is not sealed and has to be.
        """
        if body.startswith(MARK):
            return self._verified(_read(body)) if self._secrets else _read(body).body
        if self._required:
            raise MessageSignatureError("not signed, and this app takes signed messages only")
        return body

    def reopen(self, body: bytes) -> bytes:
        """The message within, to be altered and closed again.

        Raises as ``open``, and where it is sealed and there is no key to seal it with again.
        """
        if not self._secrets and body.startswith(MARK):
            raise MessageSignatureError("signed, and there is no key here to sign it again with")
        return self.open(body)

    def vouches_for(self, body: bytes) -> bool:
        """Whether what ``open`` gives of it is as it was signed."""
        return bool(self._secrets) and body.startswith(MARK)

    def _verified(self, sealed: _Sealed) -> bytes:
        secret = self._secrets.get(sealed.key_id)
        if secret is None:
            raise MessageSignatureError(
                f"signed with the key {sealed.key_id!r:.80}, which is not accepted here"
            )
        if not hmac.compare_digest(_sign(secret, sealed.body), sealed.signature):
            raise MessageSignatureError(
                f"altered: it is not what was signed with the key {sealed.key_id!r}"
            )
        return sealed.body


def unsealed(body: bytes) -> bytes:
    """The message within, whoever sealed it, to be looked at only; as it is where it has no seal.

    Raises ``MessageSignatureError`` where it cannot be read.
    """
    return _read(body).body if body.startswith(MARK) else body


def _read(body: bytes) -> _Sealed:
    try:
        return _sealed.decode(body)
    except codec.DECODE_ERRORS as error:
        raise MessageSignatureError(f"not a signed message: {error}") from error


def _sign(secret: bytes, body: bytes) -> bytes:
    return hmac.digest(secret, CONTEXT + body, "sha256")


def _parse(text: str) -> Mapping[str, bytes]:
    secrets: dict[str, bytes] = {}
    for entry in re.split(r"[\s,]+", text.strip(", \t\r\n")):
        key_id, colon, secret = entry.partition(":")
        if not colon or not key_id or len(key_id) > MAX_KEY_ID or not key_id.isprintable():
            raise ConfigurationError(
                "CHICORY_SIGNING_KEYS: must be id:secret, several with commas between them "
                "(chicory shows none of it); make a secret with: openssl rand -hex 32"
            )
        if len(secret) < MIN_SECRET:
            raise ConfigurationError(
                f"CHICORY_SIGNING_KEYS: the secret of {key_id!r} has {len(secret)} characters, "
                f"it must have {MIN_SECRET} or more: make one with openssl rand -hex 32"
            )
        if key_id in secrets:
            raise ConfigurationError(f"CHICORY_SIGNING_KEYS: there are two keys {key_id!r}")
        secrets[key_id] = secret.encode("utf-8", "surrogatepass")
    return secrets
