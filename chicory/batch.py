"""Calls put together to batches: encoded as they come, given ids and times when that is done."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
        forms: of each call.
        publications: those of the forms.
    """

    __slots__ = ("calls", "forms", "publications")

    def __init__(self, calls: Sequence[Call[R]], forms: Sequence[Form]) -> None:
        self.calls = calls
        self.forms = forms
        self.publications = [form for form in forms if isinstance(form, Publication)]


class Batches(Generic[R]):
    """Fills one batch after the other, to as many calls as the broker likes, or ``MAX_BYTES``."""

    def __init__(self, broker: Broker, clock: Clock) -> None:
        self._broker = broker
        self._clock = clock
        self._limit = broker.bulk
        self._begin()

    def fill(self, calls: Iterable[Call[R]]) -> Batch[R] | None:
        """Take calls until there is no room for more: then the batch; ``None`` at their end.

        Raises ``TypeError`` for what is no call.
        """
        sender = template = None
        for call in calls:
            if not isinstance(call, Call):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise TypeError(f"{type(call).__name__} is no call: write task.call(...)")
            maker = None
            try:
                if template is None or call.sender is not sender:
                    template, sender = call.sender.template(self._broker), call.sender
                if template.alike:
                    begun, maker = template.pack(call.args, call.kwargs), template
                    size = template.frame + len(begun)
                else:
                    begun = template.publication(call.args, call.kwargs, self._clock.now())
                    size = len(begun.body)
            except ChicoryError as error:
                begun, size = error, 0
            if full := self._add(call, begun, maker, size):
                return full
        return None

    def cut(self) -> Batch[R]:
        """The batch as it is, its calls given ids and times; the next one is begun."""
        begun: list[Any] = self._begun
        now = self._clock.now()
        forms: list[Form] = []
        for template, run in groupby(self._templates):
            part = begun[len(forms) : len(forms) + len(list(run))]
            forms += part if template is None else template.publications(part, now)
        batch = Batch(self._calls, forms)
        self._begin()
        return batch

    def _begin(self) -> None:
        self._calls: list[Call[R]] = []
        self._begun: list[bytes | Form] = []
        """The form of each, or its arguments, encoded."""
        self._templates: list[Template | None] = []
        """What makes a form of these; ``None`` of what is one already."""
        self._size = 0

    def _add(
        self, call: Call[R], begun: bytes | Form, template: Template | None, size: int
    ) -> Batch[R] | None:
        full = self.cut() if self._size + size > MAX_BYTES and self._size else None
        self._calls.append(call)
        self._begun.append(begun)
        self._templates.append(template)
        self._size += size
        return self.cut() if full is None and len(self._calls) >= self._limit else full
