"""Who wants to know of which call's record."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TypeAlias

from msgspec import Struct

from chicory_sqlite.records import Stored

Sink: TypeAlias = Callable[[str, bytes], None]


class _Watched(Struct):
    sink: Sink
    seen: int = 0


class Sinks:
    """The watched calls. Changed on the event loop; ``wanted`` may be asked by any thread."""

    def __init__(self) -> None:
        self._watched: dict[str, _Watched] = {}

    def __bool__(self) -> bool:
        return bool(self._watched)

    def add(self, task_ids: Collection[str], sink: Sink) -> None:
        """Watch calls, anew where they are watched already."""
        for task_id in task_ids:
            self._watched[task_id] = _Watched(sink)

    def remove(self, task_ids: Collection[str]) -> None:
        """Watch them no more."""
        for task_id in task_ids:
            self._watched.pop(task_id, None)

    def clear(self) -> None:
        """Watch nothing any more."""
        self._watched.clear()

    def wanted(self, task_ids: Iterable[tuple[int, str]]) -> Sequence[tuple[int, str]]:
        """Those of the (number, call) that are watched."""
        return [pair for pair in task_ids if pair[1] in self._watched]

    def dispatch(self, records: Iterable[Stored]) -> None:
        """Call the sinks, each once for a record however often it is reported."""
        for record in records:
            watched = self._watched.get(record.task_id)
            if watched is not None and record.seq > watched.seen:
                watched.seen = record.seq
                watched.sink(record.task_id, record.body)
