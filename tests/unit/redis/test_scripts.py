"""The scripts: each one says what it takes and promises, and is one that the server accepts."""

from importlib.resources import files

import pytest

from chicory_redis.scripts import load

SOURCES = {
    path.name.removesuffix(".lua"): path.read_text(encoding="utf-8")
    for path in (files("chicory_redis") / "scripts").iterdir()
    if path.name.endswith(".lua")
}
CALLED = sorted(name for name, source in SOURCES.items() if "\n-- KEYS  base\n" in source)


def test_scripts_are_shipped():
    assert {"publish", "fetch", "settle", "renew"} <= set(CALLED)


@pytest.mark.parametrize("name", sorted(set(SOURCES) - set(CALLED)))
def test_what_is_included_says_so(name):
    assert "ncluded" in SOURCES[name].partition("\n")[0]


@pytest.mark.parametrize("name", CALLED)
def test_the_head_names_arguments_and_promise(name):
    head = SOURCES[name].partition("\n\n")[0]

    assert all(line.startswith("-- ") for line in head.splitlines())
    assert "-- ARGV  " in head
    assert "-- Answers " in head


@pytest.mark.parametrize("name", CALLED)
def test_the_server_takes_it_for_what_we_take_it(name, server):
    script = load(name)

    assert server.command("SCRIPT", "LOAD", script.source) == script.digest.encode()


def test_the_group_is_filled_in():
    assert "local GROUP, POOL, SERIES = 'mine'" in load("fetch", "mine").source
    assert load("fetch", "mine").digest != load("fetch").digest
