from io import StringIO

import pytest
from rich.console import Console

from chicory.cli.findings import print_next
from chicory.demo.tour import Tour

NOTHING = Tour(reports=[], seconds=1, enqueuing=1, latencies=[], idle_latencies=[], dead=[])


@pytest.mark.parametrize(
    ("broker", "line"),
    [
        (
            "sqlite:///my [b]x[/b].db?a=b",
            "export CHICORY_BROKER_URL='sqlite:///my [b]x[/b].db?a=b'",
        ),
        ("sqlite:///chicory-demo2.db", "export CHICORY_BROKER_URL=sqlite:///chicory-demo2.db"),
        (
            "redis://me:hush@host/0",
            "export CHICORY_BROKER_URL=redis://LOGIN@host/0  # with yours for LOGIN: it is",
        ),
    ],
)
def test_the_broker_is_told_to_the_shell_as_the_shell_takes_it(broker, line):
    said = StringIO()

    print_next(Console(file=said), NOTHING, broker)

    assert line in said.getvalue()


def test_the_demos_own_database_need_not_be_told():
    said = StringIO()

    print_next(Console(file=said), NOTHING, "sqlite:///chicory-demo.db")

    assert "export" not in said.getvalue()


@pytest.mark.parametrize(("depth", "start"), [("", "  chicory"), ("1", "  uv run chicory")])
def test_under_uv_the_commands_are_for_uv(monkeypatch, depth, start):
    monkeypatch.delenv("UV_RUN_RECURSION_DEPTH", raising=False)
    if depth:
        monkeypatch.setenv("UV_RUN_RECURSION_DEPTH", depth)
    said = StringIO()

    print_next(Console(file=said), NOTHING, "sqlite:///chicory-demo.db")

    commands = [line for line in said.getvalue().splitlines() if "chicory.demo" in line]
    assert len(commands) == 2
    assert all(line.startswith(f"{start} ") for line in commands)
