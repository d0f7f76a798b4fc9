"""A process of a run, as its parent sees it."""

from __future__ import annotations

import subprocess
from contextlib import suppress


class Process:
    """A producer or worker.

    Attributes:
        pid: its id.
        spare: it is not replaced where it ends.
    """

    def __init__(self, popen: subprocess.Popen[bytes], *, spare: bool) -> None:
        self.pid = popen.pid
        self.spare = spare
        self.popen = popen

    @property
    def runs(self) -> bool:
        """Whether it has not ended."""
        return self.popen.poll() is None

    def tell(self, line: str) -> None:
        """Write a line to its standard input, which nobody reads where it has ended."""
        assert self.popen.stdin is not None
        with suppress(BrokenPipeError):
            self.popen.stdin.write(line.encode() + b"\n")
            self.popen.stdin.flush()

    def hang_up(self) -> None:
        """Close its standard input."""
        assert self.popen.stdin is not None
        with suppress(BrokenPipeError):
            self.popen.stdin.close()

    def close(self) -> None:
        """End it, where it has not ended."""
        self.popen.kill()
        self.popen.wait()
        self.hang_up()
