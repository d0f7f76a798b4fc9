"""URLs."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest

from chicory.errors import ConfigurationError
from chicory.transport import Publication, TransportSettings
from chicory_sqlite import SQLiteTransport
from chicory_sqlite.address import Address, parse


def test_three_slashes_name_a_path_relative_to_the_working_directory():
    assert parse("sqlite:///chicory.db") == Address(path=Path.cwd() / "chicory.db")


@pytest.mark.anyio
async def test_the_working_directory_counts_when_the_transport_is_made(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    transport = SQLiteTransport(TransportSettings(url="sqlite:///a.db"))
    monkeypatch.chdir(tmp_path / "elsewhere")

    for each in (transport, transport.clone()):
        await each.open()
        await each.publish([Publication("default", uuid4().hex, b"")])
        counts = await each.counts(["default"])
        await each.close()

    assert counts["default"].ready == 2
    assert (tmp_path / "a.db").exists()
    assert not list(Path.cwd().iterdir())


def test_of_a_working_directory_that_is_gone_it_is_said_so(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()

    with pytest.raises(ConfigurationError, match=r"'a\.db' is relative to the current folder"):
        parse("sqlite:///a.db")
    assert parse("sqlite:////a.db").path == Path("/a.db")


def test_four_slashes_name_an_absolute_path():
    assert parse("sqlite:////var/lib/chicory.db").path == Path("/var/lib/chicory.db")


def test_a_path_is_percent_decoded():
    assert parse("sqlite:///my%20queue%3F.db").path == Path.cwd() / "my queue?.db"


def test_options_are_read():
    address = parse("sqlite:///a.db?synchronous=FULL&busy_timeout=2.5&max_size=2000000")

    assert address == Address(Path.cwd() / "a.db", "full", 2.5, 2_000_000)


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("sqlite://", "sqlite:///relative"),
        ("sqlite:///", "sqlite:///relative"),
        ("sqlite://host/a.db", "sqlite:///relative"),
        ("redis://localhost", "sqlite:///relative"),
        ("sqlite:///:memory:", "names no file"),
        ("sqlite:///folder/", "names no file"),
        ("sqlite:///a%00b", "names no file"),
        ("sqlite:///a.db#b", "not the URL"),
        ("sqlite://[a.db", "not the URL"),
        ("sqlite:///a.db?wal=1", "'wal'.*synchronous, busy_timeout and max_size"),
        ("sqlite:///a.db?synchronous=on", "'on'.*off, normal, full, extra"),
        ("sqlite:///a.db?busy_timeout=soon", "'soon'.*seconds"),
        ("sqlite:///a.db?busy_timeout=0", "'0'.*seconds"),
        ("sqlite:///a.db?busy_timeout=nan", "'nan'.*seconds"),
        ("sqlite:///a.db?max_size=1k", "'1k'.*bytes from 1048576"),
        ("sqlite:///a.db?max_size=1000", "'1000'.*bytes from 1048576"),
        ("sqlite:///a.db?max_size=9999999&max_size=9999999", "twice"),
    ],
)
def test_what_is_wrong_is_named_with_what_is_accepted(url, named):
    with pytest.raises(ConfigurationError, match=named):
        SQLiteTransport(TransportSettings(url=url))


def test_the_constructor_touches_no_file(tmp_path):
    SQLiteTransport(TransportSettings(url=f"sqlite:///{tmp_path}/a.db"))

    assert list(tmp_path.iterdir()) == []
