"""``chicory call``, ``result``, ``cancel``: send a call by hand, see what came of it, stop it."""

from __future__ import annotations

import inspect
import re
from typing import Annotated, Any

import anyio
import msgspec
from cyclopts import Parameter
from cyclopts.validators import Number

from chicory.app import Chicory
from chicory.cli.locate import Address, AppPath, across_processes, locate, reach
from chicory.cli.output import AsJSON, json_text, print_json, show_one
from chicory.errors import ConfigurationError, TaskError
from chicory.logs import harmless
from chicory.record import TaskResult
from chicory.result import AsyncResult
from chicory.states import TaskState
from chicory.task import Task
from chicory.transport import Cancelled

Timeout = Annotated[
    float | None,
    Parameter(
        help="Seconds to wait for the result; it comes as soon as it is there.",
        validator=Number(gte=0),
    ),
]


def call(
    app: AppPath,
    task: Annotated[str, Parameter(help="Name of the task.")],
    /,
    *arguments: Annotated[
        str,
        Parameter(
            help="Arguments: JSON, or plain text; name=value for a parameter of that name.",
            allow_leading_hyphen=True,
        ),
    ],
    wait: Annotated[
        bool, Parameter(negative=(), help="Wait for the result, and print it.")
    ] = False,
    timeout: Timeout = None,
) -> int:
    """Enqueue a call of a task; print its id, or with --wait its result as JSON."""
    found = across_processes(locate(app))
    called = found.get_task(task)
    args, kwargs = _read(found, called, arguments)

    async def send() -> int:
        async with found:
            handle: AsyncResult[Any] = await called.delay(*args, **kwargs)
            if not wait and timeout is None:
                print(handle.task_id)
                return 0
            return await _print_value(found, handle, timeout)

    return anyio.run(send)


def result(
    app: Address,
    task_id: Annotated[str, Parameter(help="Identity of the call.")],
    /,
    *,
    timeout: Timeout = None,
    as_json: AsJSON = False,
) -> int:
    """Show where a call stands, and what it came to."""

    async def ask() -> int:
        async with reach(app) as opened:
            if timeout is not None:
                await opened.backend.wait(task_id, timeout)
            return await _show_standing(opened, task_id, as_json=as_json)

    return anyio.run(ask)


def cancel(
    app: Address,
    task_id: Annotated[str, Parameter(help="Identity of the call; several may be given.")],
    /,
    *more: Annotated[str, Parameter(help="Further identities.")],
    as_json: AsJSON = False,
) -> int:
    """Cancel calls that wait, are delayed, or run; exit code 1 where one did none of these."""

    async def ask() -> int:
        async with reach(app) as opened:
            done = {each: await opened.broker.cancel(each) for each in (task_id, *more)}
        if as_json:
            print_json({each: answer.value for each, answer in done.items()})
        else:
            for each, answer in done.items():
                print(f"{each}: {_ANSWERS[answer]}")
        return 0 if all(done.values()) else 1

    return anyio.run(ask)


_OPTION = re.compile("--[a-z]", re.IGNORECASE)
"""Begins a word that somebody means for us; a number may be negative."""
_ANSWERS = {
    Cancelled.REMOVED: "cancelled before it began",
    Cancelled.REQUESTED: "it runs, and its worker is told to stop it",
    Cancelled.ABSENT: "neither waits nor runs: it has ended, or was never sent here",
}


async def _print_value(
    app: Chicory,
    handle: AsyncResult[Any],
    timeout: float | None,  # noqa: ASYNC109  (as in get)
) -> int:
    try:
        print_json(await handle.get(timeout), app.codec)
    except TaskError as error:
        print(harmless(str(error), kept="\n\t"))
        return 1
    return 0


async def _show_standing(app: Chicory, task_id: str, *, as_json: bool) -> int:
    state = await app.backend.state(task_id)
    found = await app.backend.get_result(task_id)
    fields: dict[str, Any] = {"task_id": task_id, "state": state.value}
    if found:
        fields |= _outcome(found)
        if found.state is TaskState.SUCCESS and not as_json:
            fields["result"] = _shown(found.result)
    elif state is TaskState.PENDING and not as_json:
        fields["state"] = f"{state.value}: it waits to be run, or no such call is known"
    show_one(fields, as_json=as_json)
    return 1 if state.failed else 0


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json_text(value)


def _outcome(found: TaskResult) -> dict[str, Any]:
    fields = msgspec.structs.asdict(found)
    times = {name: fields[name] for name in ("started_at", "finished_at")}
    return {
        "task": found.name,
        "result": found.result,
        "error": found.error and f"{found.error_type}: {found.error}",
        "retries": found.retries,
        "seconds": max(0.0, times["finished_at"] - times["started_at"]),
        "worker": found.worker_id,
        "traceback": found.traceback or None,
    }


def _read(
    app: Chicory, task: Task[..., Any], words: tuple[str, ...]
) -> tuple[list[Any], dict[str, Any]]:
    parameters = inspect.signature(task.function).parameters
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if equals and name in parameters:
            if name in kwargs:
                raise ConfigurationError(f"argument {name!r} is given twice")
            kwargs[name] = _value(app, value, task.signature.hint(name))
        elif _OPTION.match(word):
            raise ConfigurationError(
                f"{harmless(name)}: no option of chicory call, see --help; what is text for a "
                f"parameter is written NAME={harmless(word)}"
            )
        else:
            args.append(_value(app, word, task.signature.hint_at(len(args))))
    return args, kwargs


def _value(app: Chicory, word: str, hint: Any) -> Any:
    hook = app.codec.hooks.of(hint) if isinstance(hint, type) else None
    if hint is str or (hook is not None and hook.via is str):
        return word
    try:
        return msgspec.json.decode(word)
    except msgspec.DecodeError:
        return word
