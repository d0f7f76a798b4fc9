"""Names and ids that can be stored: text that no broker mixes up with another one."""

from __future__ import annotations

from chicory.accepted import brief, is_plain, is_text
from chicory.errors import ValidationError
from chicory.transport import MAX_NAME


def check_name(name: object, what: str) -> None:
    """Raise ``ValidationError`` for what is no text, or text that no transport can store.

    A name that cannot be sent must not fail the batch, or the connection, that it would be on.
    """
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME or not is_text(name):
        raise ValidationError(f"{what} {brief(name)}: must be text of 1 to {MAX_NAME} characters")


def check_listed(given: object, what: str, of: str = "names") -> None:
    """Raise ``ValidationError`` for one name in place of a list: its letters would be the names."""
    if isinstance(given, str):
        shown = brief(given)
        raise ValidationError(f"{what}={shown}: must be a list of {of}: write {what}=[{shown}]")


def check_plain(name: str, what: str) -> None:
    """Raise ``ValidationError`` also for one that would steer the terminal that shows it."""
    check_name(name, what)
    if not is_plain(name):
        raise ValidationError(f"{what} {name!r}: must be without control characters")
