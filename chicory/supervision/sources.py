"""Changes of the source code, for ``--reload``."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from importlib.util import find_spec
from pathlib import Path

from chicory.errors import ConfigurationError

PATIENCE = 200
"""Milliseconds that the watching thread takes at most to notice that it is wanted no more."""


def need_watchfiles() -> None:
    """Raises ``ConfigurationError`` where what watches files is not installed."""
    if find_spec("watchfiles") is None:
        raise ConfigurationError("--reload needs watchfiles: pip install 'chicory[reload]'")


async def changes(folder: Path) -> AsyncGenerator[list[str]]:
    """The Python files below ``folder`` that changed, each time that some have."""
    from watchfiles import PythonFilter, awatch  # noqa: PLC0415  (an extra)

    async for changed in awatch(folder, watch_filter=PythonFilter(), rust_timeout=PATIENCE):
        yield sorted({str(Path(path).relative_to(folder)) for _, path in changed})
