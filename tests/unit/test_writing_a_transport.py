"""The page for authors of transports, carried out."""

import math
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from chicory.discovery import GROUP
from chicory.testing.contract import TransportContract
from chicory.testing.faults.stage import Stage
from chicory.transport import Transport

PAGE = (Path(__file__).parents[2] / "docs" / "writing-a-transport.md").read_text()
FILES = {
    name: text
    for text, name in re.findall(r"```(?:python|toml)\n(# ([\w.]+)\b.*?)```", PAGE, re.DOTALL)
}
TESTS = [name for name in dir(TransportContract) if name.startswith("test_")]


def cases(test) -> int:
    """How often a test runs on each loop."""
    marks = [mark for mark in getattr(test, "pytestmark", []) if mark.name == "parametrize"]
    return math.prod(len(mark.args[1]) for mark in marks)


def run_pytest(folder: Path, *arguments: str) -> str:
    for name, text in FILES.items():
        (folder / name).write_text(text)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    ran = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
    assert ran.returncode == 0, ran.stdout
    return ran.stdout


@pytest.mark.slow
def test_the_whole_test_module_passes_on_both_loops(tmp_path):
    printed = run_pytest(tmp_path, "test_mine.py")

    each = sum(cases(getattr(TransportContract, name)) for name in TESTS)
    assert f"{2 * each} passed" in printed


@pytest.mark.slow
def test_the_harness_for_a_broker_with_its_own_clock_works(tmp_path):
    chosen = [
        "test_it_is_fetched_at_its_time_and_no_sooner",
        "test_a_record_is_forgotten_when_its_ttl_is_over",
    ]

    printed = run_pytest(tmp_path, "test_mine_in_real_time.py", "-k", " or ".join(chosen))

    assert f"{2 * len(chosen)} passed" in printed


def test_the_entry_point_is_in_the_group_that_is_searched():
    project = tomllib.loads(FILES["pyproject.toml"])["project"]

    assert set(project["entry-points"]) == {GROUP}


@pytest.mark.parametrize(
    "verb", [name for name, value in vars(Transport).items() if callable(value) and name[0] != "_"]
)
def test_every_verb_is_in_the_table(verb):
    assert re.search(rf"^\|.*`{verb}\(", PAGE, re.MULTILINE)


def test_the_stage_of_the_page_is_one(tmp_path):
    names: dict = {}
    exec(FILES["my_stage.py"], names)

    stage = names["MyStage"](tmp_path)

    assert isinstance(stage, Stage)
    assert stage.url(None) == f"mine://127.0.0.1:{stage.port}"
    assert stage.url(7) == "mine://127.0.0.1:7"


def test_the_fault_run_of_the_page_compiles():
    compile(FILES["test_mine_under_faults.py"], "test_mine_under_faults.py", "exec")
