"""Where a process finds a task: in the module of its function, by name, as an import does."""

from __future__ import annotations

import os
import sys
from types import ModuleType
from typing import Any, cast

from chicory.errors import ConfigurationError
from chicory.memory import can_tell
from chicory.task import Task

MAIN = frozenset({"__main__", "__mp_main__"})


def check(task: Task[..., Any], *, limited: bool = False) -> None:
    """Raises ``ConfigurationError`` where no other process could find the task.

    Also where the system has none such, or, for a task whose memory is ``limited``, does not say
    how much they have.
    """
    if os.name != "posix":
        raise ConfigurationError(
            f"task {task.name}: this system has no processes that end with their worker: "
            'leave out executor="process"'
        )
    if limited and not can_tell():
        raise ConfigurationError(
            f"task {task.name}: this system does not tell how much memory a process has: "
            "leave out max_memory and max_process_memory"
        )
    module, qualname = home(task)
    loaded = sys.modules.get(module)
    if module in MAIN or loaded is None:
        raise ConfigurationError(
            f"task {task.name}: is defined in {module}, which a process of its own cannot import: "
            "move it to a module"
        )
    if find(loaded, qualname, task.name) is not task:
        raise ConfigurationError(
            f"task {task.name}: a process of its own would look for it in {module}, where its "
            "function is, and not find it: register it there"
        )


def home(task: Task[..., Any]) -> tuple[str, str]:
    """The module that defines the task's function, and its name there."""
    return task.function.__module__, task.function.__qualname__


def find(module: ModuleType, qualname: str, name: str) -> Task[..., Any] | None:
    """The task of that name: at the place of its function, or elsewhere in its module."""
    found: Any = module
    for part in qualname.split("."):
        found = getattr(found, part, None)
    for value in (found, *vars(module).values()):
        if isinstance(value, Task) and value.name == name:
            return cast("Task[..., Any]", value)
    return None
