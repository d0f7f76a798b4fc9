"""What a transport may say beyond the verbs."""

from __future__ import annotations

from typing import Protocol, runtime_checkable


@runtime_checkable
class Vouching(Protocol):
    """A transport that knows whether the broker has its fetches in mind. Optional.

    A worker asks its broker every few seconds whether messages wait that its fetch does not see.
    With a transport that vouches for the fetch it need not.
    """

    def vouches(self) -> bool:
        """Whether the broker itself has said of late that it knows of every fetch which waits.

        Of late is within 15 seconds. ``False`` where that is not known, or nothing waits. That
        there is a connection is not enough: it can be there, and the fetch forgotten. To be called
        from any thread; it asks nobody.
        """
        ...
