"""In which order queues are served: strictly, or each one's share by its weight."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence

from chicory.accepted import brief
from chicory.errors import ConfigurationError, ValidationError
from chicory.names import check_listed, check_plain

Queues = Sequence[str] | Mapping[str, int]
"""Names in strict order, or names with their weights."""


class Rota:
    """Says for each fetch which queue goes first.

    Names alone: always in the order given, so that a queue is served only when those before it
    are empty. Names with weights: in a random order in which a queue of weight 3 goes first three
    times as often as one of weight 1, so that none waits for ever; each fetch takes from the next
    queue what the one before did not have. Weighted sampling without replacement by Efraimidis and
    Spirakis (Information Processing Letters 97, 2006).

    Raises:
        ConfigurationError: no queue, what is no name, a name twice, or a weight below 1; one name
            in place of a list.
    """

    def __init__(self, queues: Queues, uniform: Callable[[], float] = random.random) -> None:
        self.names = _listed(queues)
        self._weights = dict(queues) if isinstance(queues, Mapping) else None
        self._uniform = uniform
        _check(self.names, self._weights or {})

    def __str__(self) -> str:
        weights = self._weights
        names = self.names if weights is None else [f"{n}={w}" for n, w in weights.items()]
        return ", ".join(names)

    def order(self) -> Sequence[str]:
        """The queues, for one fetch."""
        weights = self._weights
        if weights is None:
            return self.names
        return sorted(self.names, key=lambda name: -(self._uniform() ** (1 / weights[name])))


def parse(words: Sequence[str]) -> Queues:
    """What ``--queue`` said: ``name`` for strict order, or ``name=weight`` for each.

    Raises ``ConfigurationError`` where only some have a weight, or what stands for one is none.
    """
    weights: dict[str, int] = {}
    for word in words:
        name, equals, weight = word.rpartition("=")
        if equals:
            if not weight.isdecimal() or not name:
                raise ConfigurationError(
                    f"--queue {word}: write name=weight, the weight a whole number, 1 or more"
                )
            if name in weights:
                raise ConfigurationError(f"--queue {name} is given twice")
            weights[name] = int(weight)
    if not weights:
        return tuple(words)
    if len(weights) < len(words):
        raise ConfigurationError(
            f"--queue {' --queue '.join(words)}: give each queue a weight, or none"
        )
    return weights


def _listed(queues: Queues) -> tuple[str, ...]:
    try:
        check_listed(queues, "queues")
    except ValidationError as error:
        raise ConfigurationError(str(error)) from None
    if isinstance(queues, bytes) or not isinstance(queues, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance]  (not every caller is type-checked)
        raise ConfigurationError(
            f"queues={brief(queues)}: must be a list of names, or a mapping of them to weights"
        )
    return tuple(queues)


def _check(names: Sequence[str], weights: Mapping[str, int]) -> None:
    if not names:
        raise ConfigurationError("a worker needs a queue to consume")
    for name in names:
        try:
            check_plain(name, "queue")
        except ValidationError as error:
            raise ConfigurationError(str(error)) from None
    if len(set(names)) < len(names):
        raise ConfigurationError(f"queues {', '.join(names)}: one of them is given twice")
    for name, weight in weights.items():
        if not isinstance(weight, int) or weight < 1:  # pyright: ignore[reportUnnecessaryIsInstance]  (not every caller is type-checked)
            raise ConfigurationError(
                f"queue {name}={brief(weight)}: a weight is a whole number, 1 or more"
            )
