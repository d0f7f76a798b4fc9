"""What a transport can do, as data."""

from __future__ import annotations

import sys

from msgspec import Struct


class Abilities(Struct, frozen=True):
    """What a transport can do beyond the verbs; read at start-up to refuse what cannot work.

    Attributes:
        shared: processes on other machines can connect.
        cross_process: other processes on this machine can connect.
        durable: messages survive a crash of the process and of the broker.
        together: settlements of a worker that are better under way together than one after the
            other.
        publishing: batches of what is published at the same time, likewise.
        bulk: messages that are best published in one call, where there are many.
        beside: whether the next of these are best put together while one call is under way.
        max_size: bytes of a body or record that the broker takes; where it is the server that
            says so, this is known of an instance once it is open.
    """

    shared: bool
    cross_process: bool
    durable: bool
    together: int = 1
    publishing: int = 1
    bulk: int = 256
    beside: bool = False
    max_size: int = sys.maxsize
