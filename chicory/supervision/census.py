"""One answer for several processes: ``/live``, ``/ready`` and ``/metrics`` of all of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import msgspec

from chicory.answers import OK, Answer, absent, as_json, health
from chicory.supervision.child import Child

PATIENCE = 4.0
"""Seconds that each process gets to answer; all are asked at the same time."""
_FAMILY = re.compile(rb"(?m)^(?=# HELP )")


class Census:
    """Asks all processes; called with a path, on any thread.

    Args:
        children: the processes by their place, counted from 0.
        missing: says how many places have no process.
    """

    def __init__(
        self, children: Callable[[], Mapping[int, Child]], missing: Callable[[], int]
    ) -> None:
        self._children = children
        self._missing = missing

    def __call__(self, target: str) -> Answer:
        """The answer of all; 404 for what there is not.

        ``/live``: each one that is at work answers, and need not be replaced; who has died is being
        replaced already. ``/ready``: none is missing, and all are ready.
        """
        path = target.partition("?")[0]
        alive = {place: child for place, child in self._children().items() if child.is_alive}
        match path:
            case "/live":
                at_work = {place: child for place, child in alive.items() if child.is_ready}
                return health(reasons(_ask(at_work, path)))
            case "/ready":
                return health([*self._gaps(), *reasons(_ask(alive, path))])
            case "/metrics":
                return merged(list(_ask(alive, path).values()))
            case _:
                return absent()

    def _gaps(self) -> list[str]:
        missing = self._missing()
        return [f"{missing} worker processes are not there"] if missing else []


def _ask(children: Mapping[int, Child], path: str) -> dict[int, Answer | None]:
    """What each process says; the queues, which they share, are counted by the first one only."""
    places = sorted(children)

    def ask(place: int) -> Answer | None:
        queues = int(place == places[0])
        return children[place].ask(f"{path}?process={place + 1}&queues={queues}", PATIENCE)

    with ThreadPoolExecutor(max(1, len(places))) as pool:
        return dict(zip(places, pool.map(ask, places), strict=True))


def reasons(answers: Mapping[int, Answer | None]) -> list[str]:
    """What speaks against these processes, each with its place, counted from 1."""
    return [
        f"worker process {place + 1}: {reason}"
        for place, answer in answers.items()
        for reason in _reasons(answer)
    ]


def _reasons(answer: Answer | None) -> Sequence[str]:
    if answer is None:
        return (f"no answer within {PATIENCE:g} s",)
    if answer.status == OK:
        return ()
    try:
        return msgspec.json.decode(answer.body)["reasons"]
    except (msgspec.DecodeError, KeyError, TypeError):
        return (answer.body.decode(errors="replace"),)


def merged(answers: Sequence[Answer | None]) -> Answer:
    """All metrics in one text: each family once, with the samples of every process."""
    told = [answer for answer in answers if answer is not None]
    good = [answer for answer in told if answer.status == OK]
    if not good:
        return told[0] if told else as_json(503, {"error": "no worker process answers"})
    families: dict[bytes, bytes] = {}
    for answer in good:
        for family in filter(None, _FAMILY.split(answer.body)):
            name = family.split(b" ", 3)[2]
            families[name] = families[name] + _samples(family) if name in families else family
    return Answer(OK, b"".join(families.values()), good[0].kind)


def _samples(family: bytes) -> bytes:
    """A family without its comments."""
    lines = family.splitlines(keepends=True)
    return b"".join(line for line in lines if not line.startswith(b"#"))
