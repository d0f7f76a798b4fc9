"""URLs."""

from __future__ import annotations

from pathlib import Path

import pytest

from chicory.errors import ConfigurationError
from chicory.transport import TransportSettings
from chicory_sqlite import SQLiteTransport
from chicory_sqlite.address import Address, parse


def test_three_slashes_name_a_path_relative_to_the_working_directory():
    assert parse("sqlite:///chicory.db") == Address(path=Path("chicory.db"))


def test_four_slashes_name_an_absolute_path():
    assert parse("sqlite:////var/lib/chicory.db").path == Path("/var/lib/chicory.db")


def test_a_path_is_percent_decoded():
    assert parse("sqlite:///my%20queue%3F.db").path == Path("my queue?.db")


def test_options_are_read():
    address = parse("sqlite:///a.db?synchronous=FULL&busy_timeout=2.5&max_size=2000000")

    assert address == Address(Path("a.db"), "full", 2.5, 2_000_000)


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
