"""The command as a whole: its parts, and what becomes of an error."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import NoReturn

from cyclopts import App, CycloptsError

from chicory.cli import calls, dlq, queues, settings, worker, workers
from chicory.cli.demo import demo
from chicory.errors import (
    ChicoryError,
    ConfigurationError,
    MessageError,
    TaskNotFoundError,
    ValidationError,
)
from chicory.logs import harmless

MISTAKE, FAILURE, INTERRUPTED = 2, 1, 130
"""Exit codes: what was asked cannot be done; it could be, but failed; control-C."""

MISTAKES = (ConfigurationError, MessageError, TaskNotFoundError, ValidationError)

command = App(
    name="chicory",
    help="Run and look after task queues.",
    version=f"chicory {version('chicory')}",
    version_flags=["--version"],
    help_format="plaintext",
    suppress_keyboard_interrupt=False,
)
command.command(worker.worker)
command.command(queues.queues)
command.command(dlq.command)
command.command(workers.workers)
command.command(workers.cleanup)
command.command(calls.call)
command.command(calls.result)
command.command(calls.cancel)
command.command(settings.config)
command.command(demo)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit code. A user's mistake is one line on stderr, no traceback."""
    _print_anything()
    _need_stderr()
    try:
        code = command(
            list(sys.argv[1:] if arguments is None else arguments),
            exit_on_error=False,
            print_error=False,
            result_action="return_value",
        )
        if sys.stdout is not None:  # pyright: ignore[reportUnnecessaryComparison]  (None: closed)
            sys.stdout.flush()
    except CycloptsError as error:
        return _complain(f"{_one_line(error)}; chicory --help shows what there is", MISTAKE)
    except ChicoryError as error:
        return _complain(str(error), MISTAKE if isinstance(error, MISTAKES) else FAILURE)
    except TimeoutError as error:
        return _complain(str(error) or "timed out", FAILURE)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        _close_quietly()
    return code if isinstance(code, int) else 0


def _print_anything() -> None:
    # names and errors are of any alphabet; others than the terminal's are numbered
    reconfigure = getattr(sys.stdout, "reconfigure", None)  # what stands in for it may have none
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")


def _need_stderr() -> None:
    # or what is meant for it goes to stdout, or into the next file that is opened, which gets its
    # number; the processes that are started inherit it
    if sys.stderr is None:  # pyright: ignore[reportUnnecessaryComparison]  (it is closed)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.set_inheritable(nowhere, True)  # noqa: FBT003  (its signature)
        sys.stderr = os.fdopen(nowhere, "w")


def _complain(text: str, code: int) -> int:
    print(f"chicory: {harmless(text)}", file=sys.stderr)
    return code


def _one_line(error: CycloptsError) -> str:
    text = " ".join(str(error).split())
    return text if text.endswith("...") else text.removesuffix(".")


def _close_quietly() -> NoReturn:
    # whoever read our output (head, less) has seen enough; the interpreter must not complain
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(FAILURE)
