"""What became of the wish to cancel a call."""

from __future__ import annotations

from enum import Enum


class Cancelled(Enum):
    """What ``cancel`` did; true unless there was nothing to cancel.

    ``REMOVED``: the call had not begun, and never will. ``REQUESTED``: it runs, and its worker
    will stop it; it may still come to its end before that. ``ABSENT``: nothing of that id waits
    or runs.
    """

    REMOVED = "removed"
    REQUESTED = "requested"
    ABSENT = "absent"

    def __bool__(self) -> bool:
        return self is not Cancelled.ABSENT
