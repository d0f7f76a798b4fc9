"""``python -m chicory.testing.faults``: a run, from a terminal."""

from __future__ import annotations

import random
import shutil
import signal
import sys
import tempfile
from argparse import ArgumentParser, Namespace
from importlib import import_module
from pathlib import Path

import anyio

from chicory.errors import ConfigurationError
from chicory.testing.faults.report import lines
from chicory.testing.faults.run import Outcome, Plan, run
from chicory.testing.faults.stage import Stage
from chicory.testing.faults.stages import STAGES
from chicory.transport import DEFAULT_LEASE


def parser() -> ArgumentParser:
    """What it takes."""
    made = ArgumentParser(prog="python -m chicory.testing.faults", description=__doc__)
    made.add_argument(
        "--transport",
        default="sqlite",
        help=f"{', '.join(STAGES)}, or a stage of your own as module:Class",
    )
    made.add_argument("--seed", type=int, help="decides about all chances; drawn if not given")
    made.add_argument("--tasks", type=int, default=2000)
    made.add_argument("--faults", type=int, default=20)
    made.add_argument("--lease", type=float, default=DEFAULT_LEASE, help="seconds")
    made.add_argument("--workers", type=int, default=3)
    made.add_argument("--concurrency", type=int, default=16)
    made.add_argument("--backend", choices=["asyncio", "trio"], default="asyncio")
    made.add_argument("--wipes", action="store_true", help="also faults that destroy calls")
    made.add_argument("--only", action="append", default=[], help="faults whose names have this")
    made.add_argument("--keep", action="store_true", help="the folder with the ledger and the logs")
    return made


def stage_type(name: str) -> type[Stage]:
    """The stage of that name. Raises ``ConfigurationError`` where there is none."""
    if name in STAGES:
        return STAGES[name]
    module, _, attribute = name.partition(":")
    try:
        found = getattr(import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigurationError(f"--transport {name}: no such stage: {error}") from error
    return found


def replay(arguments: Namespace) -> str:
    """The command that does the same again."""
    words = [
        f"--{name} {getattr(arguments, name)}"
        for name in (
            "transport",
            "seed",
            "tasks",
            "faults",
            "lease",
            "workers",
            "concurrency",
            "backend",
        )
    ]
    words += ["--wipes"] if arguments.wipes else []
    words += [f"--only '{part}'" for part in arguments.only]
    return "python -m chicory.testing.faults " + " ".join(words)


async def _run(arguments: Namespace, folder: Path) -> Outcome:
    plan = Plan(
        seed=arguments.seed,
        tasks=arguments.tasks,
        faults=arguments.faults,
        lease=arguments.lease,
        workers=arguments.workers,
        concurrency=arguments.concurrency,
        backend=arguments.backend,
        wipes=arguments.wipes,
        only=tuple(arguments.only),
    )
    data = folder / "broker"
    data.mkdir()
    return await run(stage_type(arguments.transport)(data), folder, plan)


def main() -> int:
    """Run; 0 where all promises were held."""
    arguments = parser().parse_args()
    if arguments.seed is None:
        arguments.seed = random.SystemRandom().randrange(2**32)
    print(replay(arguments), flush=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # its server must not outlive it
    folder = Path(tempfile.mkdtemp(prefix="chicory-faults-"))
    try:
        outcome = anyio.run(_run, arguments, folder)
    except ConfigurationError as error:
        shutil.rmtree(folder)
        print(error, file=sys.stderr)
        return 2
    for line in lines(outcome):
        print(line)
    if outcome.held and not arguments.keep:
        shutil.rmtree(folder)
    else:
        print(f"the ledger and the logs are in {folder}")
    return 0 if outcome.held else 1


if __name__ == "__main__":
    sys.exit(main())
