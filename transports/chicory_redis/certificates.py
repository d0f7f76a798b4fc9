"""The files for TLS: whether they can be used, which OpenSSL says without their names."""

from __future__ import annotations

import ssl

from chicory.errors import ConfigurationError
from chicory_redis.address import Tls


def check(tls: Tls) -> None:
    """Raise ``ConfigurationError`` that names the file that cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if tls.ca_certs:
        try:
            context.load_verify_locations(tls.ca_certs)
        except OSError as error:
            raise _unusable(f"ssl_ca_certs={tls.ca_certs!r}", error) from error
    if tls.certfile:
        try:
            context.load_cert_chain(tls.certfile, tls.keyfile or None)
        except OSError as error:
            key = f", or ssl_keyfile={tls.keyfile!r}" if tls.keyfile else ""
            raise _unusable(f"ssl_certfile={tls.certfile!r}{key}", error) from error


def _unusable(what: str, error: OSError) -> ConfigurationError:
    reason = error.reason if isinstance(error, ssl.SSLError) else error.strerror
    return ConfigurationError(f"{what}: the file cannot be used: {reason or error}")
