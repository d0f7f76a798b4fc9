"""The one port of several processes, on which it is answered how all of them are."""

from __future__ import annotations

from types import TracebackType
from typing import Self, TypeAlias

from chicory.answers import Respond

Address: TypeAlias = tuple[str, int]
"""A host and a port, 0 for any that is free."""


class Port:
    """Open between entering and leaving ``with``, from when on it is known where.

    The command's own settings say it first; then the processes, which know the program's as well.

    Args:
        respond: says what to answer.
        address: where to begin; ``None`` where that is not known yet.
    """

    def __init__(self, respond: Respond, address: Address | None) -> None:
        self._respond = respond
        self._wanted = address
        self._address: Address | None = None

    def __enter__(self) -> Self:
        if self._wanted is not None:
            self.move(self._wanted)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._address is not None:
            self._endpoint.__exit__(kind, error, trace)

    @property
    def is_open(self) -> bool:
        """Whether it is known where it is."""
        return self._address is not None

    def move(self, address: Address) -> None:
        """Answer there. Raises ``ConfigurationError`` where that cannot be had; it stays then."""
        from chicory.endpoint import Endpoint  # noqa: PLC0415  (an HTTP server is much to load)

        if address == self._address:
            return
        fresh = Endpoint(*address, self._respond)
        fresh.__enter__()
        if self._address is not None:
            self._endpoint.__exit__(None, None, None)
        self._endpoint, self._address = fresh, address
