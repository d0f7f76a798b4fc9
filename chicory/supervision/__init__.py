"""Several worker processes of one command. ``Supervisor`` and ``Lifeline`` are its public names."""

from chicory.supervision.lifeline import Lifeline
from chicory.supervision.supervisor import Supervisor

__all__ = ["Lifeline", "Supervisor"]
