"""The tasks of an app."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from chicory.codec import PLAIN
from chicory.errors import ConfigurationError, TaskNotFoundError
from chicory.record import StoredResult
from chicory.task import Task


class Registry:
    """Tasks by name.

    Attributes:
        by_name: a view of them.
    """

    def __init__(self) -> None:
        self._tasks: dict[str, Task[..., Any]] = {}
        self.by_name: Mapping[str, Task[..., Any]] = MappingProxyType(self._tasks)

    def add(self, task: Task[..., Any]) -> None:
        """Take up a task. Raises ``ConfigurationError`` where another one has its name."""
        if task.name in self._tasks:
            raise ConfigurationError(
                f"two tasks are named {task.name!r}: give one of them another name"
            )
        self._tasks[task.name] = task

    def get(self, name: str) -> Task[..., Any]:
        """The task of that name. Raises ``TaskNotFoundError``."""
        task = self._tasks.get(name)
        if task is None:
            known = ", ".join(sorted(self._tasks)) or "none"
            raise TaskNotFoundError(f"no task is named {name!r}: known are {known}")
        return task

    def read(self, stored: StoredResult) -> Any:
        """A stored value, in the type that its task promises; plain where nobody knows the task."""
        task = self._tasks.get(stored.name)
        if task is None:
            return PLAIN.decoder(Any).decode(stored.result)
        return task.signature.decode_result(stored.result)
