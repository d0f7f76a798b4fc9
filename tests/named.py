"""Names of parametrized tests that are the same in every process."""

from __future__ import annotations

import re


def by_text(value: object) -> str:
    """A value's text, without the address that differs from one process to the next."""
    return re.sub(r" at 0x[0-9a-f]+", "", str(value))


def by_repr(value: object) -> str:
    """A value's ``repr``, likewise."""
    return by_text(repr(value))
