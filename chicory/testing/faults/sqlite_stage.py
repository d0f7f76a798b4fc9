"""SQLite, under faults."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from chicory.errors import ConfigurationError
from chicory.testing.faults.disk import Disk
from chicory.testing.faults.stage import Harm, Stage


class SQLiteStage(Stage):
    """One file; no server. Where this process may mount one, on a disk of its own that fills."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.software = f"the SQLite of Python {platform.python_version()}"
        self._disk = Disk(folder)

    def url(self, port: int | None) -> str:
        """The file."""
        assert port is None
        return f"sqlite:///{self.folder / 'chicory.db'}"

    def start(self) -> None:
        """Mount the disk."""
        with suppress(ConfigurationError):
            self._disk.mount()

    def close(self) -> None:
        """Unmount it."""
        self._disk.unmount()

    def harms(self) -> Mapping[str, Harm]:
        """A disk that is full."""
        return {"disk full": self._fill} if self._disk.possible() else {}

    async def _fill(self) -> None:
        if self._disk.is_mounted:
            await self._disk.squeeze()
