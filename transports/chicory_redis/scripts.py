"""The Lua scripts: one for each atomic step, in ``scripts/``, headed by what they take and do."""

from __future__ import annotations

import hashlib
import re
from functools import cache
from importlib.resources import files

from msgspec import Struct

_INCLUDE = re.compile(r"^-- include: (.+)$", re.MULTILINE)
_LINE = re.compile(r"user_script: ?(\d+)")
_COMMAND = re.compile(r"call(?:_redis)?\('(\w+)'")


class Script(Struct, frozen=True):
    """A script as the server knows it.

    Attributes:
        name: of its file.
        source: with what it includes.
        digest: by which it is called once the server has it.
    """

    name: str
    source: str
    digest: str

    def where(self, error: str) -> str:
        """The commands that stand in the line where an error was raised, as the server says it."""
        found = _LINE.search(error)
        lines = self.source.splitlines()[int(found[1]) - 1 :] if found else []
        return " or ".join(_COMMAND.findall(lines[0])) if lines else ""


@cache
def load(name: str, group: str = "chicory") -> Script:
    """Read ``scripts/<name>.lua`` and the files named in its line ``-- include: ...``.

    ``group`` becomes the name of the streams' consumer group.
    """
    text = _read(name)
    included = _INCLUDE.search(text)
    parts = included[1].split() if included else []
    source = "\n".join([*map(_read, parts), text]).replace("@GROUP@", group)
    return Script(name, source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


def _read(name: str) -> str:
    return (files("chicory_redis") / "scripts" / f"{name}.lua").read_text(encoding="utf-8")
