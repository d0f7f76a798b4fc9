"""The files to log in with: whether they hold what they should."""

from __future__ import annotations

import re
from pathlib import Path

from chicory.errors import ConfigurationError
from chicory_nats.address import Address, unusable

_SEED = rb"SU[A-Z2-7]{56}"
_FORMS = {
    "credentials": (
        # nats-py reads lines that end as these do
        re.compile(
            rb"BEGIN NATS USER JWT-+\n\S+\n.*BEGIN USER NKEY SEED-+\n" + _SEED + rb"\n", re.DOTALL
        ),
        "a JWT and the seed of a user, as nsc writes them, in lines that end with \\n",
    ),
    "nkey": (
        re.compile(rb"\s*" + _SEED + rb"\s*\Z"),
        "the seed of a user (SU...), and nothing else",
    ),
}


def mistake(address: Address) -> ConfigurationError | None:
    """What is wrong with the files, where no server can be logged in to with them."""
    for name, (form, wanted) in _FORMS.items():
        path = getattr(address, name)
        if path is None:
            continue
        try:
            found = Path(path).read_bytes()
        except OSError as error:
            return unusable(name, path, error)
        if not form.search(found):
            return ConfigurationError(f"{name}={path!r}: the file must hold {wanted}")
    return None
