"""``chicory dlq``: look at dead letters, send them again, or delete them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any, TypeVar

import anyio
from cyclopts import App, Parameter

from chicory.broker import Broker, DLQMessage
from chicory.cli.locate import Address, reach
from chicory.cli.options import whole
from chicory.cli.output import AsJSON, gist, show, show_one
from chicory.errors import ConfigurationError
from chicory.message import PastFailure

T = TypeVar("T")
Queue = Annotated[str | None, Parameter(name=["--queue", "-q"], help="Only those of this queue.")]
Error = Annotated[
    str | None,
    Parameter(help="Only those of this class of exception, with or without its module."),
]
All = Annotated[bool, Parameter(name="--all", negative=(), help="Every one (of --queue).")]
Letter = Annotated[str, Parameter(help="Identity of the dead letter, as dlq list shows it.")]
PAGE = 500
MOST_NAMED = 20
WHICH = "which dead letters? their identities, or --all (--queue NAME, --error CLASS)"

command = App(name="dlq", help="Look at dead letters, send them again, or delete them.")


@command.command(name="list")
def list_letters(
    app: Address,
    /,
    *,
    queue: Queue = None,
    count: Annotated[int, Parameter(converter=whole, help="How many at most.")] = 100,
    error: Error = None,
    as_json: AsJSON = False,
) -> None:
    """List dead letters, oldest first."""
    letters = _ask(app, lambda broker: broker.get_dlq_messages(queue, count, error=error))
    rows = [_row(letter) for letter in letters]
    if not as_json:
        rows = [row | {"error": gist(row["error"])} for row in rows]
    show(rows, as_json=as_json, empty="no dead letters")


@command.command(name="show")
def show_letter(app: Address, letter: Letter, /, *, as_json: AsJSON = False) -> None:
    """Show one dead letter whole: the call, its arguments, and why it was given up."""
    found = _ask(app, lambda broker: broker.get_dlq_message(letter))
    if found is None:
        raise _absent(letter)
    show_one(_whole(found), as_json=as_json)


@command.command
def replay(
    app: Address,
    /,
    *letters: Letter,
    queue: Queue = None,
    every: All = False,
    error: Error = None,
    to: Annotated[str | None, Parameter(help="Queue to put them on, if not their own.")] = None,
    keep_retries: Annotated[
        bool, Parameter(negative=(), help="Go on with the retries that were left.")
    ] = False,
) -> None:
    """Put dead letters back on their queue, to be run again."""

    async def again(broker: Broker) -> tuple[int, Sequence[str]]:
        chosen = await _chosen(broker, letters, queue, error, every=every)
        replayed = await broker.replay_many_from_dlq(chosen, to, reset_retries=not keep_retries)
        left = [letter for letter, gone in zip(chosen, replayed, strict=True) if not gone]
        kept = [letter for letter in left if await broker.get_dlq_message(letter)]
        return len(chosen) - len(left), kept

    replayed, kept = _ask(app, again)
    _report("replayed", replayed, letters, kept)


@command.command
def delete(app: Address, /, *letters: Letter) -> None:
    """Delete dead letters."""

    async def remove(broker: Broker) -> int:
        return await _delete(broker, await _named(broker, letters))

    _report("deleted", _ask(app, remove), letters)


@command.command
def purge(app: Address, /, *, queue: Queue = None, every: All = False, error: Error = None) -> None:
    """Delete all dead letters of a queue, or of all queues."""
    if queue is None and not every:
        raise ConfigurationError("purge what? --queue NAME, or --all for every queue")

    async def remove(broker: Broker) -> int:
        if error is not None:
            return await _delete(broker, await _every(broker, queue, error))
        names = [queue] if queue is not None else list(await broker.counts())
        return sum([await broker.purge_dlq(name) for name in names])

    _report("deleted", _ask(app, remove), ())


def _ask(address: str, question: Callable[[Broker], Awaitable[T]]) -> T:
    async def ask() -> T:
        async with reach(address) as app:
            return await question(app.broker)

    return anyio.run(ask)


async def _chosen(
    broker: Broker,
    letters: tuple[str, ...],
    queue: str | None,
    error: str | None,
    *,
    every: bool,
) -> Sequence[str]:
    filtered = queue is not None or error is not None
    if every == bool(letters) or (filtered and not every):
        raise ConfigurationError(WHICH)
    return await (_every(broker, queue, error) if every else _named(broker, letters))


async def _named(broker: Broker, letters: tuple[str, ...]) -> Sequence[str]:
    if not letters:
        raise ConfigurationError("which dead letters? their identities")
    for letter in letters:
        if await broker.get_dlq_message(letter) is None:
            raise _absent(letter)
    return letters


async def _every(broker: Broker, queue: str | None, error: str | None) -> Sequence[str]:
    chosen: list[str] = []
    while page := await broker.get_dlq_messages(
        queue, PAGE, chosen[-1] if chosen else None, error=error
    ):
        chosen += [letter.message_id for letter in page]
    return chosen


async def _delete(broker: Broker, letters: Sequence[str]) -> int:
    return sum(await broker.delete_many_from_dlq(letters))


def _report(done: str, number: int, asked: Sequence[str], kept: Sequence[str] = ()) -> None:
    print(f"{number} dead {'letter' if number == 1 else 'letters'} {done}")
    if kept:
        raise ConfigurationError(
            f"another call with their id, or their unique key, waits or runs: {_some(kept)}"
        )
    if number < len(asked):
        raise ConfigurationError(f"{len(asked) - number} of them were gone meanwhile")


def _some(letters: Sequence[str]) -> str:
    more = len(letters) - MOST_NAMED
    return ", ".join(letters[:MOST_NAMED]) + (f" and {more:,} more" if more > 0 else "")


def _absent(letter: str) -> ConfigurationError:
    return ConfigurationError(f"no dead letter {letter!r}: chicory dlq list shows those there are")


def _row(letter: DLQMessage) -> dict[str, Any]:
    message = letter.original_message
    return {
        "id": letter.message_id,
        "queue": letter.queue,
        "task": message.name if message else "?",
        "reason": letter.reason,
        "retries": letter.retry_count,
        "failed_at": letter.failed_at,
        "error_type": letter.error_type,
        "error": letter.error,
    }


def _whole(letter: DLQMessage) -> dict[str, Any]:
    message = letter.original_message
    if message is None:
        return {**_row(letter), "bytes": letter.body}
    return {
        **_row(letter),
        "args": message.args,
        "kwargs": message.kwargs,
        "first_failure_at": message.first_failure_at,
        "headers": message.headers,
        "failures": [_told(one) for one in letter.failures],
    }


def _told(failure: PastFailure) -> str:
    """Class and message; one of them where the other is not known, or the same."""
    return ": ".join(dict.fromkeys(filter(None, (failure.error_type, failure.error))))
