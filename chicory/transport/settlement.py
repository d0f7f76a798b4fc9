"""What becomes of a delivery."""

from __future__ import annotations

from enum import Enum
from typing import TypeAlias

from msgspec import Struct

from chicory.transport.delivery import Receipt
from chicory.transport.letter import DeadLetter
from chicory.transport.publication import Publication
from chicory.transport.record import Record


class Done(Struct, frozen=True):
    """The message is finished: it is removed, its unique key released."""

    receipt: Receipt
    record: Record | None = None
    follow_ups: tuple[Publication, ...] = ()


class Retry(Struct, frozen=True):
    """The message is replaced by ``publication`` (same task id); its unique key is kept.

    ``deliveries`` starts again at 1. There is no moment at which neither message exists.
    """

    receipt: Receipt
    publication: Publication
    record: Record | None = None
    follow_ups: tuple[Publication, ...] = ()


class Dead(Struct, frozen=True):
    """The message becomes a dead letter; its unique key is released."""

    receipt: Receipt
    letter: DeadLetter
    record: Record | None = None
    follow_ups: tuple[Publication, ...] = ()


class Release(Struct, frozen=True):
    """The message is given back at once, or at ``not_before``: this delivery is not counted."""

    receipt: Receipt
    not_before: float = 0.0


Settlement: TypeAlias = Done | Retry | Dead | Release


class Settled(Enum):
    """What became of a settlement."""

    SETTLED = "settled"
    FENCED = "fenced out"
