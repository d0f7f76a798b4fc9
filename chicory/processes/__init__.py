"""Processes that run tasks for a worker: both ends of the line between them."""
