"""``python -m benchmarks [--quick]``: measure, print tables, write a JSON file."""

from __future__ import annotations

import signal
from functools import partial
from typing import Annotated

import cyclopts
from cyclopts import Parameter
from msgspec.structs import replace
from rich.console import Console
from rich.status import Status

from benchmarks import comparison, plot, report
from benchmarks.contender import against
from benchmarks.measure import MEASURES
from benchmarks.run import Run, run
from benchmarks.scale import COMPARISON, FULL, QUICK, QUICK_COMPARISON
from benchmarks.variant import SERVERLESS, Broker, Loop, Variant, loops

_ENDS = (signal.SIGINT, signal.SIGTERM)
_COMPARED = ("drain", "work", "enqueue", "latency", "idle", "traffic")

app = cyclopts.App(help="Measure chicory on this machine.")


@app.default
def measure(
    *,
    quick: Annotated[bool, Parameter(negative="")] = False,
    rounds: int | None = None,
    only: Annotated[list[str] | None, Parameter(consume_multiple=True, negative="")] = None,
    brokers: Annotated[list[Broker] | None, Parameter(consume_multiple=True, negative="")] = None,
    on: Annotated[list[Loop] | None, Parameter(consume_multiple=True, negative="")] = None,
    budget: float | None = None,
) -> None:
    """Measure all variants in rounds.

    Args:
        quick: a rough picture within two minutes: what takes long is measured on asyncio only,
            and what would not be over by then is left out, and named.
        rounds: how often everything is measured.
        only: measurements: drain, pair, work, endings, enqueue, sync, latency, loaded, delay,
            recovery, processes, idle, traffic, scale, soak, imports.
        brokers: memory, sqlite, redis, nats; memory and sqlite by default.
        on: event loops: asyncio, trio, uvloop.
        budget: seconds that all of it may take; what would take longer is left out, and named.
    """
    if unknown := set(only or ()) - set(MEASURES):
        raise SystemExit(f"--only {' '.join(unknown)}: there are {', '.join(MEASURES)}")
    scale = QUICK if quick else FULL
    scale = replace(scale, rounds=rounds or scale.rounds, budget=budget or scale.budget)
    columns = on or (loops()[:2] if quick else loops())
    variants = [Variant(broker, loop) for broker in brokers or SERVERLESS for loop in columns]
    console = Console()
    _interrupted_once()
    with console.status("") as status:
        found = run(scale, variants, only or MEASURES, partial(_tell, status))
    _save(found, console)
    report.show(found, columns, console)


@app.command
def compare(
    *,
    quick: Annotated[bool, Parameter(negative="")] = False,
    rounds: int | None = None,
    only: Annotated[list[str] | None, Parameter(consume_multiple=True, negative="")] = None,
    brokers: Annotated[list[Broker] | None, Parameter(consume_multiple=True, negative="")] = None,
    on: Annotated[list[Loop] | None, Parameter(consume_multiple=True, negative="")] = None,
    peers: Annotated[list[str] | None, Parameter(consume_multiple=True, negative="")] = None,
    patience: float = 0.0,
    budget: float | None = None,
) -> None:
    """Measure chicory beside other queues and bare clients, alternating, on the same servers.

    Args:
        quick: a rough picture: what is drained by whom, one round.
        rounds: how often everything is measured.
        only: measurements: drain, work, enqueue, latency, idle, traffic; and pair, loaded,
            recovery, soak, which take long.
        brokers: redis, nats, sqlite; redis by default.
        on: event loops of chicory.
        peers: those to compare with; all by default.
        patience: seconds for which a measurement waits for a machine that others leave alone.
        budget: seconds that all of it may take; what would take longer is left out, and named.
    """
    scale = QUICK_COMPARISON if quick else COMPARISON
    scale = replace(scale, rounds=rounds or scale.rounds, budget=budget or scale.budget)
    variants: list[Variant] = []
    for broker in brokers or ["redis"]:
        ours = [Variant(broker, loop) for loop in on or loops()]
        theirs = [one for one in against(broker) if one.name in (peers or [one.name])]
        for one in theirs:
            one.command()  # makes its environment before anything is measured
        variants += [*ours, *(one.variant for one in theirs)]
    console = Console()
    _interrupted_once()
    with console.status("") as status:
        what = only or (("drain",) if quick else _COMPARED)
        found = run(scale, variants, what, partial(_tell, status), patience)
    _save(found, console)
    comparison.show(found, console)


def _interrupted_once() -> None:
    """From now on the first Ctrl-C or SIGTERM ends the measuring, and no other the telling."""

    def stop(*_: object) -> None:
        for each in _ENDS:
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt

    for each in _ENDS:
        signal.signal(each, stop)


def _tell(status: Status, doing: str, found: Run) -> None:
    """What is measured next; what has been is written at once, in case this is cut off."""
    if found.samples:
        report.save(found)
    status.update(doing)


def _save(found: Run, console: Console) -> None:
    path = report.save(found)
    console.print(f"written to {path} and {plot.save(found, path.with_suffix('.svg'))}")


if __name__ == "__main__":
    app()
