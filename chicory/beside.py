"""Work that is done while an answer is under way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from anyio import create_task_group, get_cancelled_exc_class
from anyio.lowlevel import checkpoint

A = TypeVar("A")
W = TypeVar("W")

_TURNS = 2
"""Of the event loop: what another task had to send is on its way then."""


async def beside(ask: Callable[[], Awaitable[A]], work: Callable[[], Awaitable[W]]) -> tuple[A, W]:
    """What ``ask`` gives, and what ``work`` gives, which is begun once ``ask`` waits.

    Raises what either raises, as it is, but not before the other has ended.
    """
    answers: list[A] = []
    results: list[W] = []
    errors: list[BaseException] = []

    async def wait() -> None:
        try:
            answers.append(await ask())
        except Exception as error:  # noqa: BLE001  (raised below, by itself)
            errors.append(error)

    async with create_task_group() as group:
        group.start_soon(wait)
        for _ in range(_TURNS):
            await checkpoint()
        try:
            results.append(await work())
        except get_cancelled_exc_class():
            raise
        except BaseException as error:  # noqa: BLE001  (likewise, and before that of the answer)
            errors.insert(0, error)
    for error in errors:
        raise error
    return answers[0], results[0]
