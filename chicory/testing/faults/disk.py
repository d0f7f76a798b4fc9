"""A small disk of its own for a broker, which can be filled."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import anyio
from anyio import to_thread

from chicory.errors import ConfigurationError
from chicory.testing.faults.stage import Death, Stage

DISK = 512 << 20
"""Bytes."""
SQUEEZE = 1.0
"""Seconds for which it has no room."""


class Disk:
    """A file system in memory, mounted at a folder.

    Attributes:
        folder: where it is, or would be.
        is_mounted: whether it is there.
    """

    def __init__(self, folder: Path, size: int = DISK) -> None:
        self.folder = folder
        self.is_mounted = False
        self._size = size
        self._ballast = folder / "ballast"

    @staticmethod
    def possible() -> bool:
        """Whether this process may have one: on Linux, as root."""
        return sys.platform == "linux" and os.geteuid() == 0

    def mount(self) -> None:
        """Have it, unless it is there. Raises ``ConfigurationError`` where it cannot be."""
        if self.is_mounted:
            return
        options = ["-t", "tmpfs", "-o", f"size={self._size}", "tmpfs", str(self.folder)]
        if not self.possible() or not _ran("mount", *options):
            raise ConfigurationError("a disk that fills up needs root, and Linux")
        self.is_mounted = True

    def unmount(self) -> None:
        """Give it up, with what is on it."""
        if self.is_mounted:
            _ran("umount", "--lazy", str(self.folder))
            self.is_mounted = False

    def fill(self) -> None:
        """Take all that is free on it."""
        with self._ballast.open("wb", buffering=0) as file, suppress(OSError):
            for size in (1 << 20, 1 << 12):
                with suppress(OSError):
                    while file.write(bytes(size)):
                        pass

    def empty(self) -> None:
        """Give back what ``fill`` took."""
        self._ballast.unlink(missing_ok=True)

    async def squeeze(self) -> None:
        """Have no room on it for a while."""
        try:
            await to_thread.run_sync(self.fill)
            await anyio.sleep(SQUEEZE)
        finally:
            self.empty()


class OnDisk(Stage):
    """A server that keeps its data on such a disk, and is restarted after that was full.

    To be named before the stage of the server. It needs root, and Linux.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._disk = Disk(folder)

    def start(self) -> None:
        """Start the server on its disk."""
        self._disk.mount()
        super().start()

    def close(self) -> None:
        """Kill the server, and unmount its disk."""
        super().close()
        self._disk.unmount()

    def deaths(self) -> Mapping[str, Death]:
        """A disk that is full."""
        return {"disk full": Death(self._fill)}

    async def _fill(self) -> None:
        await self._disk.squeeze()
        await to_thread.run_sync(self.kill)
        await to_thread.run_sync(self.start)


def _ran(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0  # noqa: S603
