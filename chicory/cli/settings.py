"""``chicory config``: what is in force, and where each value came from; or all there is to set."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from chicory.cli.locate import Address, reach
from chicory.cli.output import AsJSON, show
from chicory.cli.reference import entries, settings
from chicory.masking import mask


def config(app: Address | None = None, /, *, as_json: AsJSON = False) -> None:
    """Show an app's settings in force, and where each one comes from; secrets are masked.

    Without an app: every variable, its default, and what it takes.
    """
    show(list(_all() if app is None else _in_force(app)), as_json=as_json, empty="")


def _all() -> Iterator[dict[str, str]]:
    for entry in entries():
        yield {
            "variable": entry.variable,
            "default": entry.default,
            "takes": entry.takes,
            "option": " ".join(entry.options),
            "meaning": entry.meaning,
        }


def _in_force(address: str) -> Iterator[dict[str, Any]]:
    found = reach(address)
    yield {"variable": "", "value": mask(found.broker_url), "from": "the broker in use"}
    results = mask(found.backend_url or "none")
    yield {"variable": "", "value": results, "from": "the results in use"}
    for section, name, reader in settings(found.config):
        value = getattr(section, name)
        shown = dict(section.__rich_repr__())[name]
        yield {
            "variable": reader.variable,
            "value": None if value is None else str(shown),
            "from": reader.source() if reader() == value else "the program",
        }
