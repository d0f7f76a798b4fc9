"""The demonstration: reads the standard library in worker processes. ``app`` is its app."""

from chicory.demo.tasks import app

__all__ = ["app"]
