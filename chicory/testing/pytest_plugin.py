"""Fixtures for pytest, there in every run where chicory is installed.

It imports nothing until a fixture is asked for: who does not use it pays nothing.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from chicory.app import Chicory
    from chicory.testing.lab import Lab


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the setting that names the app."""
    parser.addini("chicory_app", "the app under test, as in chicory_app = shop.tasks:app")


@pytest.fixture
def chicory_app(request: pytest.FixtureRequest) -> Chicory:
    """The app under test: that of the setting ``chicory_app``; override it as you like."""
    path = request.config.getini("chicory_app")
    if not path:
        raise pytest.UsageError(
            "which app? write chicory_app = package.module:app in pytest's settings, "
            "or a fixture named chicory_app that returns it"
        )
    return pkgutil.resolve_name(path)


@pytest.fixture
def chicory_lab(chicory_app: Chicory) -> Iterator[Lab]:
    """The app in memory, in a time that the test moves; see ``chicory.testing.Lab``."""
    from chicory.testing.lab import Lab  # noqa: PLC0415  (only who asks for it pays for it)

    with Lab(chicory_app) as lab:
        yield lab
