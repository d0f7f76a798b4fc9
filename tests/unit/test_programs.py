"""Which program of a server is started: the newest one at hand."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from chicory.errors import ConfigurationError
from chicory.testing.programs import newest, programs


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Put programs on the path, each in a folder of its own: what they tell of themselves."""
    programs.cache_clear()

    def put(*told: tuple[str, str]) -> list[Path]:
        files = [tmp_path / str(number) / name for number, (name, _) in enumerate(told)]
        for file, (_, text) in zip(files, told, strict=True):
            file.parent.mkdir()
            file.write_text(f"#!/bin/sh\necho '{text}'\n")
            file.chmod(0o700)
        monkeypatch.setenv("PATH", ":".join(str(file.parent) for file in files))
        monkeypatch.setattr(sys, "executable", str(tmp_path / "nowhere" / "python"))
        return files

    yield put
    programs.cache_clear()


def test_the_newest_one_is_taken_wherever_it_stands_on_the_path(path):
    _, newer, _ = path(
        ("a-server", "A server v=6.9.14 sha=40305114:0 malloc=libc bits=64"),
        ("b-server", "B server v=6.10.1 sha=0:0"),
        ("a-server", "a-server: v6.9.15"),
    )

    found = newest("a-server", "b-server")

    assert found.path == newer
    assert str(found) == "b-server 6.10.1"
    assert [each.version for each in programs("a-server", "b-server")] == [
        "6.10.1",
        "6.9.15",
        "6.9.14",
    ]


def test_of_one_version_the_first_on_the_path_is_taken(path):
    first, _ = path(("a-server", "v=7.0.1"), ("a-server", "v=7.0.1"))

    assert [each.path for each in programs("a-server")] == [first]


def test_what_does_not_tell_its_version_is_none(path):
    path(("a-server", "what do you mean?"))

    with pytest.raises(ConfigurationError, match="no a-server or b-server is installed"):
        newest("a-server", "b-server")
