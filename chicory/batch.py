"""Calls put together to batches: encoded as they come, given ids and times when they are sent."""

from __future__ import annotations

from itertools import groupby
from typing import Any, Generic, TypeAlias, TypeVar

from chicory.broker import Broker
from chicory.clock import Clock
from chicory.errors import ChicoryError
from chicory.sender import Call
from chicory.template import Template
from chicory.transport import Publication

R = TypeVar("R")
Form: TypeAlias = Publication | ChicoryError
"""What to publish for a call, or why that cannot be."""

MAX_BYTES = 1 << 20
"""Of the encoded messages of one batch."""


class Batch(Generic[R]):
    """Calls that are sent together.

    Attributes:
        calls: the calls, in the order given.
        begun: the form of each, or its arguments, encoded.
        templates: what makes a form of these; ``None`` of what is one already.
        size: bytes of the messages.
    """

    __slots__ = ("begun", "calls", "size", "templates")

    def __init__(self) -> None:
        self.calls: list[Call[R]] = []
        self.begun: list[bytes | Form] = []
        self.templates: list[Template | None] = []
        self.size = 0

    def forms(self, now: float) -> list[Form]:
        """Of each call, for the time ``now``."""
        begun: list[Any] = self.begun
        forms: list[Form] = []
        for template, run in groupby(self.templates):
            part = begun[len(forms) : len(forms) + len(list(run))]
            forms += part if template is None else template.publications(part, now)
        return forms


class Batches(Generic[R]):
    """Fills one batch after the other, to as many calls as the broker likes, or ``MAX_BYTES``."""

    def __init__(self, broker: Broker, clock: Clock) -> None:
        self._broker = broker
        self._clock = clock
        self._limit = broker.bulk
        self._batch: Batch[R] = Batch()

    def add(self, call: Call[R]) -> Batch[R] | None:
        """Put a call into the batch; gives the batch once there is no room for more.

        Raises ``TypeError`` for what is no call.
        """
        if not isinstance(call, Call):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"{type(call).__name__} is no call: write task.call(...)")
        template = full = None
        try:
            template = call.sender.template(self._broker)
            if template.alike:
                begun = template.pack(call.args, call.kwargs)
                size = template.frame + len(begun)
            else:
                begun = template.publication(call.args, call.kwargs, self._clock.now())
                template, size = None, len(begun.body)
        except ChicoryError as error:
            template, begun, size = None, error, 0
        batch = self._batch
        if batch.size + size > MAX_BYTES and batch.size:
            full = self.cut()
            batch = self._batch
        batch.calls.append(call)
        batch.begun.append(begun)
        batch.templates.append(template)
        batch.size += size
        return self.cut() if full is None and len(batch.calls) >= self._limit else full

    def cut(self) -> Batch[R]:
        """The batch as it is; the next one is begun."""
        batch, self._batch = self._batch, Batch()
        return batch
