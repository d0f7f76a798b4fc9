"""The programs of servers at hand, and their versions."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from msgspec import Struct

from chicory.errors import ConfigurationError

_VERSION = re.compile(r"\bv=?(\d+(?:\.\d+)+)")
"""As servers tell it: ``Redis server v=7.0.15 sha=...``, ``nats-server: v2.15.1``."""


class Program(Struct, frozen=True):
    """A server that can be started.

    Attributes:
        path: of its file.
        version: as it tells it.
    """

    path: Path
    version: str

    def __str__(self) -> str:
        return f"{self.path.name} {self.version}"

    @property
    def age(self) -> list[int]:
        """To be compared: the newer, the larger."""
        return [int(number) for number in self.version.split(".")]


@cache
def programs(*names: str, wheel: str = "") -> Sequence[Program]:
    """Those of these names, the newest first; of one version one, the first on the path.

    They are looked for on the path, beside Python, and in a wheel that brings them.
    """
    found: dict[str, Program] = {}
    for folder in _folders(wheel):
        for name in names:
            path = shutil.which(name, path=folder)
            version = _version(path) if path else None
            if path and version:
                found.setdefault(version, Program(Path(path), version))
    return sorted(found.values(), key=lambda program: program.age, reverse=True)


def newest(*names: str, wheel: str = "") -> Program:
    """The newest one. Raises ``ConfigurationError`` where there is none."""
    for program in programs(*names, wheel=wheel):
        return program
    raise ConfigurationError(f"no {' or '.join(names)} is installed here")


def _folders(wheel: str) -> Iterator[str]:
    yield from os.get_exec_path()
    yield str(Path(sys.executable).parent)
    spec = find_spec(wheel) if wheel else None
    if spec is not None and spec.origin is not None:
        yield str(Path(spec.origin).parent / "bin")


def _version(path: str) -> str | None:
    told = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)  # noqa: S603
    number = _VERSION.search(told.stdout)
    return number[1] if number else None
