"""The ``chicory`` command. ``main`` is its one public name."""

from chicory.cli.main import main

__all__ = ["main"]
