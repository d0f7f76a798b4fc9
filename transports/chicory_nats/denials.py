"""What the server does not let its user send or hear, and who is told of it."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable

from msgspec import Struct

from chicory.errors import ConfigurationError
from chicory_nats.address import Address
from chicory_nats.translation import denied

logger = logging.getLogger("chicory.nats")

_LINE = re.compile(
    rb"-ERR\s+'Permissions Violation for (Publish|Subscription)[^\"\r]*\"([^\"\r]+)\""
)
_KIND = 2
"""Tokens of a subject that say of which kind it is: those behind them are of one call or queue."""


class Denial(Struct, frozen=True):
    """One word of the server that something is not permitted.

    Attributes:
        subject: which one.
        hears: whether it was to be heard; else it was to be sent to.
    """

    subject: bytes
    hears: bool


def read(line: bytes) -> Denial | None:
    """What a line of the server denies, if it does."""
    found = _LINE.match(line)
    return None if found is None else Denial(found[2], found[1] == b"Subscription")


class Denials:
    """Tells whoever waits for what is denied; the log, once for a kind, where nobody does."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._actions: list[Callable[[Denial], bool]] = []
        self._logged: set[tuple[bool, bytes]] = set()

    def on(self, action: Callable[[Denial], bool]) -> None:
        """Have ``action`` called with each denial: whether it gave the error to a call."""
        self._actions.append(action)

    def hear(self, denial: Denial) -> None:
        """Tell of a denial. Called in the reader's own step."""
        is_told = [action(denial) for action in self._actions]
        kind = denial.hears, b".".join(denial.subject.split(b".")[:_KIND])
        if True not in is_told and kind not in self._logged:
            self._logged.add(kind)
            logger.error("%s", self.error(denial))

    def error(self, denial: Denial) -> ConfigurationError:
        """The error of a call to which something was denied."""
        return denied(self._address, denial.subject, hears=denial.hears)

    def forget(self) -> None:
        """Begin anew, with a new connection."""
        self._logged.clear()
