"""The worker. ``Worker`` is its one public name."""

from chicory.worker.worker import Worker

__all__ = ["Worker"]
