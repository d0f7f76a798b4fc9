"""Every setting there is, read off the classes that hold them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Sequence

from cyclopts import App
from msgspec import Struct

from chicory.accepted import words
from chicory.cli.worker import worker
from chicory.config import ChicoryConfig, WorkerConfig
from chicory.environment import Reader, Section, readers

_ATTRIBUTE = re.compile(r"^ {4}(\w+): (.+(?:\n {8}.+)*)", re.MULTILINE)


class Entry(Struct, frozen=True):
    """One setting, as people read of it.

    Attributes:
        section: the class that holds it.
        field: its name there.
        variable: the environment variable that sets it.
        options: of ``chicory worker``, that set it.
        takes: what it may be.
        default: what it is where nobody sets it.
        meaning: what it means.
    """

    section: type[Section]
    field: str
    variable: str
    options: Sequence[str]
    takes: str
    default: str
    meaning: str


def entries() -> Iterator[Entry]:
    """All settings, section by section."""
    options = _options()
    for section, name, reader in settings(ChicoryConfig()):
        kind = type(section)
        yield Entry(
            kind,
            name,
            reader.variable,
            options.get(name, ()) if kind is WorkerConfig else (),
            words(reader.kind),
            reader.default,
            _meaning(kind, name),
        )


def settings(section: Section) -> Iterator[tuple[Section, str, Reader]]:
    """The settings of a section and of those within it: where each is, and who finds it."""
    found = readers(type(section))
    for name, reader in found.items():
        yield section, name, reader
    for name in section.__struct_fields__:
        if name not in found:
            yield from settings(getattr(section, name))


def _meaning(section: type[Section], field: str) -> str:
    """What the docstring of a section, or of one that it extends, says of a field."""
    for cls in section.__mro__:
        for attribute, text in _ATTRIBUTE.findall(inspect.cleandoc(cls.__doc__ or "")):
            if attribute == field:
                return " ".join(text.split()).rstrip(".").replace("``", "`")
    return ""


def _options() -> dict[str, Sequence[str]]:
    """The options of ``chicory worker`` by the field that they set."""
    arguments = App(default_command=worker).assemble_argument_collection()
    return {each.field_info.name: each.names for each in arguments}
