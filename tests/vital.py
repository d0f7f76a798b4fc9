"""Looking at processes from outside."""

from pathlib import Path

import anyio

from chicory.processes.crew import Crew


def is_gone(pid: int) -> bool:
    """Whether there is none of that number, but perhaps a zombie that is not this one's child."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return stat.rpartition(")")[2].split()[0] == "Z"


async def until_gone(pid: int) -> None:
    while not is_gone(pid):
        await anyio.lowlevel.checkpoint()


def crew_of(worker) -> Crew:
    """Who runs the worker's tasks apart."""
    return worker._run.shift.bench._performance._apart._crew
