"""What a run must be told about a broker, by the author of its transport."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TypeAlias

from msgspec import Struct

Harm: TypeAlias = Callable[[], Awaitable[None]]
"""Something that an operator does to a broker."""


async def nothing() -> None:
    """What is to be done where all is well."""


class Death(Struct, frozen=True):
    """How a part of a broker dies.

    Attributes:
        strike: kill it, and return when the others, or its successor, can be used.
        mend: have all parts again, where they are not.
    """

    strike: Harm
    mend: Harm = nothing


class Stage(ABC):
    """A broker that a run has to itself, in a folder of its own.

    Where it is a server, a run kills it, starts it again and puts a proxy in front of it; set
    ``port`` then, and override ``start`` and ``kill``. Where it is several, that know each other
    by their addresses, there is no proxy: say in ``deaths`` how they die. Where it is none, the
    faults are those of workers and producers.

    Args:
        folder: where it keeps its data, over restarts.

    Attributes:
        software: what it runs, with its version, for the report; empty where that is not known.
        port: where the server listens on this machine, the same after a restart; ``None``
            where there is none.
        forgets_leases: a server that is killed may have forgotten the leases that it gave in its
            last moments, so that what was leased then runs again at once.
        forgets: seconds before its death of which it may have forgotten what it had accepted or
            settled.
    """

    software: str = ""
    port: int | None = None
    forgets_leases: bool = False
    forgets: float = 0.0

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @abstractmethod
    def url(self, port: int | None) -> str:
        """The URL under which workers reach it, through a proxy at ``port`` where one is given."""

    def start(self) -> None:  # noqa: B027  (there may be no server)
        """Start the server on what data there is; return once it answers."""

    def kill(self) -> None:  # noqa: B027  (likewise)
        """End it without a warning (SIGKILL), and wait until it is dead."""

    def close(self) -> None:
        """End it for good."""
        self.kill()

    def deaths(self) -> Mapping[str, Death]:
        """How parts of it may die while workers go on with the rest, by name."""
        return {}

    def harms(self) -> Mapping[str, Harm]:
        """What an operator may do to it while it runs, by name, that destroys no call."""
        return {}

    def wipes(self) -> Mapping[str, Harm]:
        """What an operator may do to it that destroys calls: consumption must go on."""
        return {}
