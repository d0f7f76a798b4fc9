"""Looking again and again: on a terminal in one place, elsewhere one look after the other."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any, TypeAlias

import anyio
import msgspec
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from chicory.cli.output import console, lines, print_whole, table
from chicory.errors import BrokerConnectionError
from chicory.logs import harmless

Rows: TypeAlias = Sequence[Mapping[str, Any]]
Look: TypeAlias = Callable[[], Awaitable[Rows]]


async def watched(look: Look, interval: float, empty: str, as_json: bool) -> None:
    """Show what is seen every ``interval`` seconds, for ever; cancel it to end it.

    A broker that does not answer is shown as such, and asked again.
    """
    out = console()
    async with aclosing(_looks(look, interval)) as looks:
        if as_json:
            async for seen in looks:
                print(_line(seen), flush=True)
        elif out.is_terminal:
            await _in_place(looks, out, empty)
        else:
            async for seen in looks:
                _print(seen, empty)


async def _looks(look: Look, interval: float) -> AsyncGenerator[Rows | str]:
    """What is seen, or why nothing can be."""
    while True:
        try:
            yield await look()
        except BrokerConnectionError as error:
            yield str(error)
        await anyio.sleep(interval)


def _line(seen: Rows | str) -> str:
    """One line of JSON for each look: what is seen is an array, an error is an object."""
    told = {"error": seen} if isinstance(seen, str) else seen
    return msgspec.json.encode(told).decode()


def _print(seen: Rows | str, empty: str) -> None:
    print(_now())
    if isinstance(seen, str) or not seen:
        print(harmless(str(seen or empty)))
    else:
        print_whole(table(seen))
    print(flush=True)


async def _in_place(looks: AsyncGenerator[Rows | str], out: Console, empty: str) -> None:
    with Live(console=out, auto_refresh=False) as live:
        async for seen in looks:
            live.update(_picture(seen, empty), refresh=True)


def _picture(seen: Rows | str, empty: str) -> RenderableType:
    heading = Text(f"{_now()}, control-C ends", style="dim")
    if isinstance(seen, str) or not seen:
        return Group(heading, Text(harmless(str(seen or empty))))
    # what is too wide is cut at the edge, and not folded: the columns stay columns
    drawn = (Text.from_ansi(line, no_wrap=True, overflow="crop") for line in lines(table(seen)))
    return Group(heading, *drawn)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
