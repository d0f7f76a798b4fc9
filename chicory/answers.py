"""What is said to who asks after the health of a process, over HTTP or otherwise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TypeAlias

import msgspec
from msgspec import Struct

OK, UNAVAILABLE = 200, 503


class Answer(Struct, frozen=True):
    """What a request is answered: an HTTP status, a body and its content type."""

    status: int
    body: bytes
    kind: str = "application/json"


Respond: TypeAlias = Callable[[str], Answer]
"""Answers a path with its query, such as ``/metrics?process=2``; called on many threads."""


Opening: TypeAlias = Callable[[Respond], AbstractContextManager[object]]
"""Has a ``Respond`` asked by whoever comes, for as long as the context lasts."""


def as_json(status: int, value: object) -> Answer:
    """The answer that says ``value``."""
    return Answer(status, msgspec.json.encode(value))


def health(reasons: Sequence[str]) -> Answer:
    """200 where no reason speaks against it, else 503, with the reasons."""
    status, word = (UNAVAILABLE, "unavailable") if reasons else (OK, "ok")
    return as_json(status, {"status": word, "reasons": reasons})


def absent() -> Answer:
    """404: there is no such path."""
    return as_json(404, {"error": "there are /live, /ready and /metrics"})
