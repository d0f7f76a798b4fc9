"""``chicory config``: what is in force, and where each value came from; or all there is to set."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

from chicory.accepted import words
from chicory.cli.locate import Address, reach
from chicory.cli.output import AsJSON, show
from chicory.config import ChicoryConfig
from chicory.environment import Reader, Section, mask, readers

_ATTRIBUTE = re.compile(r"^ {4}(\w+): (.+(?:\n {8}.+)*)", re.MULTILINE)


def config(app: Address | None = None, /, *, as_json: AsJSON = False) -> None:
    """Show an app's settings in force, and where each one comes from; secrets are masked.

    Without an app: every variable, its default, and what it takes.
    """
    show(list(reference() if app is None else _in_force(app)), as_json=as_json, empty="")


def reference() -> Iterator[dict[str, str]]:
    """Every variable: its default, what it takes, and what it means."""
    for section, name, reader in _readers(ChicoryConfig()):
        yield {
            "variable": reader.variable,
            "default": reader.default,
            "takes": words(reader.kind),
            "meaning": _meaning(type(section), name),
        }


def _in_force(address: str) -> Iterator[dict[str, Any]]:
    found = reach(address)
    yield {"variable": "", "value": mask(found.broker_url), "from": "the broker in use"}
    results = mask(found.backend_url or "none")
    yield {"variable": "", "value": results, "from": "the results in use"}
    for section, name, reader in _readers(found.config):
        value = getattr(section, name)
        shown = dict(section.__rich_repr__())[name]
        yield {
            "variable": reader.variable,
            "value": None if value is None else str(shown),
            "from": reader.source() if reader() == value else "the program",
        }


def _readers(section: Section) -> Iterator[tuple[Section, str, Reader]]:
    found = readers(type(section))
    for name in section.__struct_fields__:
        value = getattr(section, name)
        if isinstance(value, Section):
            yield from _readers(value)
        elif name in found:
            yield section, name, found[name]


def _meaning(kind: type[Section], name: str) -> str:
    """What the docstring of a section, or of one that it extends, says of a field."""
    for cls in kind.__mro__:
        for attribute, text in _ATTRIBUTE.findall(inspect.cleandoc(cls.__doc__ or "")):
            if attribute == name:
                return " ".join(text.split()).rstrip(".")
    return ""
