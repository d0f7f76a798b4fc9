"""The handles of many calls, each made when somebody asks for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar, overload

from chicory.result import AsyncResult, Source

R = TypeVar("R")


class Handles(Sequence[AsyncResult[R]], Generic[R]):
    """Handles in the order of their calls; each one is the same whenever it is asked for.

    Until then it is no object: to make all of them would be a good part of enqueuing their calls,
    and the garbage collector would look at them ever after.
    """

    def __init__(self) -> None:
        self._entries: list[str | AsyncResult[R]] = []
        self._sources: list[Source | None] = []

    def __len__(self) -> int:
        return len(self._entries)

    @overload
    def __getitem__(self, index: int) -> AsyncResult[R]: ...
    @overload
    def __getitem__(self, index: slice) -> list[AsyncResult[R]]: ...
    def __getitem__(self, index: int | slice) -> AsyncResult[R] | list[AsyncResult[R]]:
        if isinstance(index, slice):
            return [self._at(one) for one in range(*index.indices(len(self)))]
        return self._at(index)

    def __iter__(self) -> Iterator[AsyncResult[R]]:
        return map(self._at, range(len(self)))

    def __repr__(self) -> str:
        return f"<{len(self)} handles>"

    def add(self, task_ids: Sequence[str], sources: Sequence[Source]) -> None:
        """Have the handles of these calls, too."""
        self._entries += task_ids
        self._sources += sources

    def append(self, handle: AsyncResult[R]) -> None:
        """Have one that is made already."""
        self._entries.append(handle)
        self._sources.append(None)

    def extend(self, others: Handles[R]) -> None:
        """Have those of others, too."""
        self._entries += others._entries
        self._sources += others._sources

    def _at(self, index: int) -> AsyncResult[R]:
        entry, source = self._entries[index], self._sources[index]
        if isinstance(entry, AsyncResult):
            return entry
        assert source is not None
        handle: AsyncResult[R] = AsyncResult(entry, source)
        self._entries[index] = handle
        return handle
