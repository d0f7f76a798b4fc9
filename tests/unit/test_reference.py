"""The page of settings is what the classes and the options say, and no page names another."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from chicory.cli.options import Settings
from chicory.cli.page import BEGIN, END, page
from chicory.cli.reference import entries
from chicory.config import WorkerConfig

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "configuration.md"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
OTHERS = {  # of the tests
    "CHICORY_EXAMPLES",
    "CHICORY_FAULTS_SEED",
    "CHICORY_FUZZ",
    "CHICORY_FUZZ_SEED",
}


def test_the_page_has_not_drifted():
    assert PAGE.read_text() == page(PAGE.read_text()), (
        "make it anew: python -m chicory.cli.page docs/configuration.md"
    )


def test_what_is_written_around_the_tables_stays():
    made = page(f"before\n{BEGIN}\nan outdated table\n{END}\nafter")

    assert made.startswith(f"before\n{BEGIN}\n")
    assert made.endswith(f"{END}\nafter")
    assert "outdated" not in made


def test_a_page_without_marks_is_refused():
    with pytest.raises(ValueError, match="the page has no "):
        page("some page")


@pytest.mark.parametrize("entry", list(entries()), ids=lambda entry: entry.variable)
def test_every_setting_is_explained(entry):
    assert entry.meaning
    assert entry.takes


def test_an_option_is_shown_with_the_setting_that_it_sets():
    options = {entry.field: list(entry.options) for entry in entries() if entry.options}

    assert options["concurrency"] == ["--concurrency", "-c"]
    assert options["use_dead_letter_queue"] == ["--dlq", "--no-dlq"]
    assert options["queue"] == ["--queue", "-q"]
    assert {field.name for field in fields(Settings)} <= options.keys()


def test_an_option_that_sets_a_setting_has_its_name():
    assert {field.name for field in fields(Settings)} <= set(WorkerConfig.__struct_fields__)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_variable_that_a_page_names_exists(path):
    known = {entry.variable for entry in entries()} | OTHERS

    for name in re.findall(r"\bCHICORY_[A-Z][A-Z_]*[A-Z]\b", path.read_text()):
        assert name.removesuffix("_FILE") in known or any(
            each.startswith(f"{name}_") for each in known
        )
