"""Environments of the peers: made once by uv, with pinned versions, in the user's cache."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from msgspec import json

_READY = "ready.json"


def python(name: str, requirements: Sequence[str]) -> Path:
    """The interpreter of an environment with these requirements; it is made where it is missing."""
    folder = _folder(name, requirements)
    interpreter = folder / "bin" / "python"
    if not (folder / _READY).exists():
        uv = partial(subprocess.run, check=True, stdout=subprocess.PIPE)
        uv(["uv", "venv", "-q", "--clear", "--python", sys.executable, folder])
        pip = ("uv", "pip")
        uv([*pip, "install", "-q", "--python", interpreter, *requirements])
        listed = uv([*pip, "list", "-q", "--python", interpreter, "--format", "json"])
        (folder / _READY).write_bytes(listed.stdout)
    return interpreter


def versions(name: str, requirements: Sequence[str]) -> dict[str, str]:
    """What is installed there."""
    listed = (_folder(name, requirements) / _READY).read_bytes()
    return {
        package["name"]: package["version"]
        for package in json.decode(listed, type=list[dict[str, str]])
    }


def _folder(name: str, requirements: Sequence[str]) -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    wanted = "\n".join((sys.version, *requirements))
    mark = hashlib.sha256(wanted.encode()).hexdigest()[:12]
    return cache / "chicory-benchmarks" / f"{name}-{mark}"
