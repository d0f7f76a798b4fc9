"""``python -m benchmarks [--quick]``: measure, print tables, write a JSON file."""

from __future__ import annotations

from typing import Annotated

import cyclopts
from cyclopts import Parameter
from msgspec.structs import replace
from rich.console import Console

from benchmarks import report
from benchmarks.measure import MEASURES
from benchmarks.run import run
from benchmarks.scale import FULL, QUICK
from benchmarks.variant import SERVERLESS, Broker, Loop, Variant, loops

app = cyclopts.App(help="Measure chicory on this machine.")


@app.default
def measure(
    *,
    quick: Annotated[bool, Parameter(negative="")] = False,
    rounds: int | None = None,
    only: Annotated[list[str] | None, Parameter(consume_multiple=True, negative="")] = None,
    brokers: Annotated[list[Broker] | None, Parameter(consume_multiple=True, negative="")] = None,
    on: Annotated[list[Loop] | None, Parameter(consume_multiple=True, negative="")] = None,
) -> None:
    """Measure all variants in rounds.

    Args:
        quick: a rough picture, in less than a minute.
        rounds: how often everything is measured.
        only: measurements: drain, enqueue, latency, idle, soak, imports.
        brokers: memory, sqlite, redis, nats; memory and sqlite by default.
        on: event loops: asyncio, trio, uvloop.
    """
    if unknown := set(only or ()) - set(MEASURES):
        raise SystemExit(f"--only {' '.join(unknown)}: there are {', '.join(MEASURES)}")
    scale = QUICK if quick else FULL
    scale = replace(scale, rounds=rounds or scale.rounds)
    columns = on or loops()
    variants = [Variant(broker, loop) for broker in brokers or SERVERLESS for loop in columns]
    console = Console()
    with console.status("") as status:
        found = run(
            scale,
            variants,
            only or MEASURES,
            lambda doing, variant: status.update(f"{doing}, {variant.broker} on {variant.loop}"),
        )
    report.show(found, columns, console)
    console.print(f"written to {report.save(found)}")


if __name__ == "__main__":
    app()
