"""What importing chicory adds to the start of an interpreter."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from tempfile import TemporaryDirectory

from benchmarks.job import Figures
from benchmarks.scale import Scale
from benchmarks.variant import Variant

_FIRST_USE = "from chicory import Chicory, Worker; Chicory()"
_DEPENDENCIES = "import anyio, asyncio, importlib.metadata, msgspec"


def imports(variant: Variant, scale: Scale) -> Figures:
    """What importing chicory adds to the start of an interpreter; the same for every variant."""
    if variant != Variant("sqlite", "asyncio"):
        return {}
    programs = {
        "import": "import chicory",
        "import first use": _FIRST_USE,
        "import dependencies": _DEPENDENCIES,
    }
    found: dict[str, list[float]] = {name: [] for name in programs}
    with TemporaryDirectory() as folder:
        for _ in range(scale.imports):
            bare = _start("pass", folder)
            for name, program in programs.items():
                found[name].append(1000 * (_start(program, folder) - bare))
    return {name: statistics.median(samples) for name, samples in found.items()}


def _start(program: str, folder: str) -> float:
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", program], cwd=folder, check=True)
    return time.perf_counter() - begin
