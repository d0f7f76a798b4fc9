"""From what a user writes for APP to the app."""

from __future__ import annotations

import os
import sys
import traceback
from importlib import import_module
from types import ModuleType
from typing import Annotated

from cyclopts import Parameter

from chicory.app import Chicory
from chicory.errors import ChicoryError, ConfigurationError
from chicory.masking import mask

AppPath = Annotated[
    str, Parameter(help="Where the app is: module:name, or module if it holds just one.")
]
Address = Annotated[
    str, Parameter(help="Where the app is: module:name, module, or the URL of its broker.")
]


def locate(path: str) -> Chicory:
    """The app at ``module:name``, or the only one of ``module``; the current folder is searched.

    Raises:
        ConfigurationError: in one line, what is wrong with the path or the module.
    """
    name, _, attribute = path.partition(":")
    if not name or name.startswith(".") or "/" in path:
        raise ConfigurationError(f"{path!r} is no app: write module:name, as in tasks:app")
    if name.endswith(".py"):
        raise ConfigurationError(f"{path!r} is a file: write its module, as in {name[:-3]}:app")
    module = _import(name)
    return _named(module, attribute) if attribute else _only(module)


def reach(address: str) -> Chicory:
    """The app at that path; for a broker's URL, an app without tasks on that broker.

    To look at a file that is not there must not make it: its name is mistyped.

    Raises as ``locate`` and ``across_processes``.
    """
    return across_processes(Chicory(address, create=False) if "://" in address else locate(address))


def across_processes(app: Chicory) -> Chicory:
    """The same app.

    Raises ``ConfigurationError`` where its queues or results are within one process: this one has
    its own.
    """
    for kind, link, url in (
        ("broker", app.broker_link, app.broker_url),
        ("backend", app.backend_link, app.backend_url),
    ):
        if link is not None and not link.template.abilities.cross_process:
            raise ConfigurationError(
                f"{mask(url or '')} is within one process, and a command is another one: "
                f"choose another {kind}, as in sqlite:///tasks.db"
            )
    return app


def _import(name: str) -> ModuleType:
    folder = os.getcwd()  # noqa: PTH109  (sys.path holds text)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        return import_module(name)
    except ChicoryError:
        raise
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise ConfigurationError(
                f"there is no module {error.name!r} in {folder} or on the path of Python"
            ) from error
        raise _broken(name, error) from error
    except (Exception, SystemExit) as error:  # a script without a guard ends the program
        raise _broken(name, error) from error


def _broken(name: str, error: Exception | SystemExit) -> ConfigurationError:
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "importlib" not in f.filename]
    if isinstance(error, SyntaxError):  # which names no file for null bytes
        place = f"{error.filename}:{error.lineno}" if error.filename else name
    else:
        place = f"{frames[-1].filename}:{frames[-1].lineno}"
    reason = str(error).partition("\n")[0]
    return ConfigurationError(
        f"module {name!r} cannot be imported: {type(error).__name__}: {reason} ({place}); "
        f"python -c 'import {name}' shows more"
    )


def _named(module: ModuleType, attribute: str) -> Chicory:
    missing = object()
    found = getattr(module, attribute, missing)
    if isinstance(found, Chicory):
        return found
    what = "is not there" if found is missing else f"is no Chicory app, but {_kind(found)}"
    raise ConfigurationError(f"{module.__name__}:{attribute} {what}; {_offer(module)}")


def _kind(value: object) -> str:
    kind = type(value).__name__
    return f"{'an' if kind[0] in 'aeiouAEIOU' else 'a'} {kind}"


def _only(module: ModuleType) -> Chicory:
    apps = _apps(module)
    if len({id(app) for app in apps.values()}) == 1:
        return next(iter(apps.values()))
    raise ConfigurationError(f"which app of {module.__name__!r}? {_offer(module)}")


def _apps(module: ModuleType) -> dict[str, Chicory]:
    return {name: value for name, value in vars(module).items() if isinstance(value, Chicory)}


def _offer(module: ModuleType) -> str:
    apps = _apps(module)
    if not apps:
        return "the module holds none: app = Chicory(...) makes one"
    return "write " + " or ".join(f"{module.__name__}:{name}" for name in apps)
